"""One WebSocket of a voice session, from its handshake to its close, in whatever vocabulary it is spoken."""

from __future__ import annotations

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from contextlib import suppress
from typing import NoReturn

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from services.sophia.connection import (
    CLOSE_INTERNAL,
    CLOSE_POLICY,
    Activity,
    EndedError,
    Pace,
    close,
    say_goodbye,
    write,
)
from services.sophia.events import Error, Event
from services.sophia.metrics import FAULTS
from services.sophia.outbox import Outbox
from services.sophia.session import Session
from services.sophia.sessions import Sessions
from shared.auth import admitted_until, subprotocol
from shared.errors import InputError, Overloaded, PeerError
from shared.problems import problem

log = logging.getLogger(__name__)


class Wire(ABC):
    """Reads into the session, and writes from its outbox."""

    def __init__(self, socket: WebSocket, sessions: Sessions) -> None:
        self._socket = socket
        self._sessions = sessions
        self._outbox = Outbox()
        self._pace = Pace()
        self._activity = Activity()
        self._tasks = asyncio.TaskGroup()
        self._session: Session | None = None

    @staticmethod
    @abstractmethod
    def refusal(error: Error) -> str:
        """What a client is told that gets no session."""

    @abstractmethod
    def _obey(self, text: str, data: bytes | None, /) -> Awaitable[None]:
        """Do what a message says, which is text, or `data`. Raises InputError and PeerError.

        It is no coroutine itself: audio comes often, and then `hear` is all there is to await.
        """

    @abstractmethod
    def _complain(self, error: InputError | PeerError, text: str, /) -> None:
        """Tell the client why that could not be done."""

    @abstractmethod
    async def _send(self, event: Event) -> None:
        """Tell the client of it."""

    def _on_closed(self, code: int) -> None:  # noqa: B027 - most have nothing to add
        """The session is over; `code` is 0 where the client broke off."""

    async def _run(self) -> None:
        ended = EndedError(CLOSE_INTERNAL)
        try:
            async with self._tasks as tasks:
                # Reading too is a task: else each message wakes every middleware that we are called through.
                for part in (write(self._outbox, self._send), self._oversee(), self._read()):
                    tasks.create_task(part).add_done_callback(self._on_part_over)
        except* EndedError as group:
            ended = group.exceptions[0] if isinstance(group.exceptions[0], EndedError) else ended
        except* WebSocketDisconnect:
            ended.code = 0
        finally:
            self._on_closed(ended.code)
        if ended.code:
            await close(self._socket, ended.code, ended.reason)

    def _on_part_over(self, _: asyncio.Task[NoReturn]) -> None:
        """And so is the session, at once: the group would wait for a reply that began while it ends."""
        if self._session is not None:
            self._session.close()

    async def _read(self) -> NoReturn:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1006))
            self._activity.note()
            text = message.get("text") or ""
            try:
                await self._obey(text, message.get("bytes"))
            except (InputError, PeerError) as error:
                FAULTS.labels(error.code).inc()
                self._complain(error, text)

    async def _oversee(self) -> NoReturn:
        until = admitted_until(self._socket.scope)
        error, code = await self._sessions.until_over(self._activity, self._until_calm, until)
        await say_goodbye(self._outbox, error, code)

    async def _until_calm(self) -> None:
        if self._session is not None:
            await self._session.until_calm()

    @classmethod
    async def serve(cls, socket: WebSocket, sessions: Sessions) -> None:
        if not sessions.welcomes(socket.headers):
            await socket.close(CLOSE_POLICY, "pages of this origin are not allowed")
            return
        if (wait_s := sessions.openings.wait_s(socket.client.host if socket.client else "")) > 0:
            seconds = str(math.ceil(wait_s))
            told = f"too many sessions were opened from this address: come back in {seconds} s"
            headers = {"Retry-After": seconds}
            await socket.send_denial_response(
                problem(429, told, code=Overloaded.code, retryable=True, headers=headers)
            )
            return
        await socket.accept(subprotocol(socket.scope))
        if (refusal := sessions.refusal()) is not None:
            error, code = refusal
            FAULTS.labels(error.code).inc()
            with suppress(WebSocketDisconnect):
                await socket.send_text(cls.refusal(error))
            await close(socket, code, error.message)
            return
        with sessions.counted():
            try:
                await cls(socket, sessions)._run()
            except Exception:
                log.exception("a voice session failed")
                await close(socket, CLOSE_INTERNAL)


def router(path: str, wire: type[Wire], sessions: Sessions) -> APIRouter:
    router = APIRouter()

    @router.websocket(path)
    async def serve(socket: WebSocket) -> None:
        await wire.serve(socket, sessions)

    return router
