"""Server-sent events, and what happens when nobody reads them any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.errors import VoxloopError

Emit = Callable[[bytes], Awaitable[None]]
"""Sends one or more whole events; waits while the client reads too slowly."""

DONE = b"data: [DONE]\n\n"

CLIENT_CLOSED_REQUEST = 499  # nginx's status; nobody is left to see it

STALLED_S = 30.0
"""A client that takes nothing for so long is taken for gone."""

_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),  # nginx would hold the tokens back
    ],
}


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


class ClientGone(Exception):
    """The client closed the connection; there is nobody to answer."""


class WhileConnected:
    """Cancels its block when the client goes away, and raises ClientGone then.

    Works as asyncio.timeout does, with the disconnect in place of the clock.
    """

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("WhileConnected needs a task to cancel")
        self._task = task
        self._cancelling = task.cancelling()
        self._receive = receive
        self._gone = False

    async def __aenter__(self) -> Self:
        self._watcher = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.cancel()
        if self._gone and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise ClientGone from error

    def give_up(self) -> None:
        """As if the client had left. Several of a batch may find that out; one cancellation is taken back."""
        if not self._gone:
            self._gone = True
            self._task.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.give_up()


class EventStream(Response):
    """Runs `produce` for as long as the client listens.

    The response begins with its first event, so what fails before that is still answered with a status:
    by `refuse`, or as any error of a route.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        produce: Callable[[Emit], Awaitable[None]],
        refuse: Callable[[VoxloopError], Response] | None = None,
        *,
        stalled_s: float = STALLED_S,
    ) -> None:
        super().__init__()
        self._stalled_s = stalled_s
        self._produce = produce
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def emit(data: bytes) -> None:
            nonlocal started
            try:
                async with asyncio.timeout(self._stalled_s):
                    if not started:
                        started = True
                        await send(_START)
                    await send({"type": "http.response.body", "body": data, "more_body": True})
            except TimeoutError:
                connection.give_up()
                await asyncio.Event().wait()  # for the cancellation

        try:
            async with WhileConnected(receive) as connection:
                await self._produce(emit)
        except ClientGone:
            return
        except VoxloopError as error:
            if started or self._refuse is None:
                raise
            await self._refuse(error)(scope, receive, send)
        else:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
