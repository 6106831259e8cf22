"""`/sophia/voice`: binary messages are PCM16 mono both ways, text messages are JSON with a `type`."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any, Literal, NoReturn, Protocol
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.datastructures import Headers
from starlette.websockets import WebSocketDisconnect

from services.sophia.connection import (
    CLOSE_BUSY,
    CLOSE_EXPIRED,
    CLOSE_IDLE,
    CLOSE_INTERNAL,
    CLOSE_NORMAL,
    CLOSE_POLICY,
    CLOSE_RESTART,
    CLOSE_TOO_LONG,
    FLUSH_DEADLINE_S,
    MESSAGE_S,
    TURN_S,
    Activity,
    EndedError,
    Pace,
    close,
    complaint,
    flush,
    hear,
    say_goodbye,
    write,
)
from services.sophia.engines import Engines
from services.sophia.events import NAMES, Error, Event, ReplyAudio, SessionStarted
from services.sophia.history import History, HistoryStore
from services.sophia.metrics import FAULTS, SESSIONS
from services.sophia.opening import OpeningRate
from services.sophia.outbox import Outbox
from services.sophia.riva import MAX_SPEED, MIN_SPEED
from services.sophia.session import Session
from services.sophia.session_config import SessionConfig
from services.sophia.settings import SophiaSettings
from services.sophia.tools import MAX_TOOLS, Offer, ToolFields
from shared.audio import MAX_RATE, MIN_RATE, RATE
from shared.auth import admitted_until, subprotocol
from shared.errors import InputError, Overloaded, PeerError
from shared.problems import problem

log = logging.getLogger(__name__)

Rate = Annotated[int, Field(ge=MIN_RATE, le=MAX_RATE)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SessionStart(_Message):
    type: Literal["session.start"]
    sample_rate: Rate = RATE
    output_sample_rate: Rate = RATE
    language: Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = "en-US"
    voice: Annotated[str, Field(max_length=100)] = ""
    system: str = ""
    speed: Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED)] = 1.0
    animation: bool = False
    emotion: Annotated[str, Field(max_length=20)] = ""
    resume: Annotated[str, Field(max_length=100)] = ""
    tools: Annotated[list[ToolFields], Field(max_length=MAX_TOOLS)] = []

    def config(self) -> SessionConfig:
        return SessionConfig(
            self.sample_rate,
            self.output_sample_rate,
            self.language,
            self.voice,
            self.system,
            self.animation,
            emotion=self.emotion,
            speed=self.speed,
            offer=Offer(tuple(tool.tool() for tool in self.tools)),
        )


class ToolResult(_Message):
    type: Literal["tool.result"]
    call_id: Annotated[str, Field(max_length=64)]
    output: str


class Text(_Message):
    type: Literal["text"]
    text: str


class Playback(_Message):
    type: Literal["playback"]
    played_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Cancel(_Message):
    type: Literal["cancel"]


class SessionEnd(_Message):
    type: Literal["session.end"]


ClientMessage = Annotated[
    SessionStart | Text | ToolResult | Playback | Cancel | SessionEnd, Field(discriminator="type")
]
_parser: TypeAdapter[SessionStart | Text | ToolResult | Playback | Cancel | SessionEnd] = TypeAdapter(
    ClientMessage
)


def parse(text: str) -> SessionStart | Text | ToolResult | Playback | Cancel | SessionEnd:
    """Raises InputError, in words for the client's developer; never repeats what it was sent."""
    try:
        return _parser.validate_json(text)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise InputError("; ".join(map(complaint, problems))) from None


def encode(event: Event) -> str:
    return orjson.dumps({"type": NAMES[type(event)], **_fields(event)}).decode()


def _fields(event: Event) -> dict[str, Any]:
    return {name: value for name, value in asdict(event).items() if value is not None}


class Wire(Protocol):
    """One WebSocket, in one of the vocabularies that a session is spoken to in."""

    def __init__(self, socket: WebSocket, sessions: Sessions) -> None: ...

    async def run(self) -> None: ...

    @staticmethod
    def refusal(error: Error) -> str:
        """What a client is told that gets no session."""


class Connection:
    """One WebSocket: reads into the session, writes from its outbox."""

    def __init__(self, socket: WebSocket, sessions: Sessions) -> None:
        self._socket = socket
        self._sessions = sessions
        self._outbox = Outbox()
        self._pace = Pace()
        self._session: Session | None = None
        self._rate = RATE  # of the microphone
        self._token = ""
        self._activity = Activity()

    async def run(self) -> None:
        ended = EndedError(CLOSE_INTERNAL)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(write(self._outbox, self._send))
                tasks.create_task(self._oversee())
                # In a task of its own: else each message wakes every middleware that we are called through.
                tasks.create_task(self._read(tasks))
        except* EndedError as group:
            ended = group.exceptions[0] if isinstance(group.exceptions[0], EndedError) else ended
        except* WebSocketDisconnect:
            ended.code = 0
        finally:
            if self._session is not None:
                self._session.close()
                is_ours = self._sessions.live.pop(self._token, None) is not None
                if is_ours and ended.code != CLOSE_NORMAL:
                    self._sessions.store.keep(self._token, self._session.history)
        if ended.code:
            await close(self._socket, ended.code, ended.reason)

    @staticmethod
    def refusal(error: Error) -> str:
        return encode(error)

    def hand_over(self) -> History:
        """The client is back on another connection, before this one was seen to be broken."""
        assert self._session is not None  # noqa: S101 - without one, no token
        self._session.close()
        self._outbox.close("the session goes on elsewhere")
        return self._session.history

    async def _read(self, tasks: asyncio.TaskGroup) -> NoReturn:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1006))
            self._activity.note()
            try:
                if (data := message.get("bytes")) is not None:
                    await hear(self._open(tasks), data, self._rate, self._pace)
                else:
                    await self._pace.spend(MESSAGE_S)
                    await self._command(parse(message.get("text") or ""), tasks)
            except (InputError, PeerError) as error:
                FAULTS.labels(error.code).inc()
                self._outbox.put(Error(error.code, str(error), error.retryable))

    async def _command(
        self,
        command: SessionStart | Text | ToolResult | Playback | Cancel | SessionEnd,
        tasks: asyncio.TaskGroup,
    ) -> None:
        limit = self._sessions.settings.max_text_chars
        match command:
            case SessionStart():
                if self._session is not None:
                    raise InputError("the session has started already")
                if len(command.system) > limit:
                    raise InputError(f"system: more than {limit} characters")
                await self._sessions.check(command.config())
                self._open(tasks, command)
            case Text():
                if len(command.text) > limit:
                    raise InputError(f"text: more than {limit} characters")
                self._open(tasks).text(command.text)
                await self._pace.spend(TURN_S)
            case ToolResult():
                self._open(tasks).replies.tool_output(command.call_id, command.output)
            case Playback():
                self._open(tasks).replies.playback(command.played_ms)
            case Cancel():
                self._open(tasks).cancel()
            case SessionEnd():
                await flush(self._outbox)
                raise EndedError(CLOSE_NORMAL)

    def _open(self, tasks: asyncio.TaskGroup, start: SessionStart | None = None) -> Session:
        """The session; opened by `session.start`, or with its defaults by whatever comes first."""
        if self._session is None:
            start = start or SessionStart(type="session.start")
            self._session = self._sessions.open(start, self._outbox, tasks)
            self._rate = start.sample_rate
            self._token = HistoryStore.new_token()
            self._sessions.live[self._token] = self
            self._outbox.put(SessionStarted(self._session.id, self._token, start.output_sample_rate))
        return self._session

    async def _send(self, event: Event) -> None:
        self._activity.note()
        if isinstance(event, ReplyAudio):
            await self._socket.send_bytes(event.pcm)
        else:
            await self._socket.send_text(encode(event))

    async def _oversee(self) -> NoReturn:
        until = admitted_until(self._socket.scope)
        error, code = await self._sessions.until_over(self._activity, self._until_calm, until)
        await say_goodbye(self._outbox, error, code)

    async def _until_calm(self) -> None:
        if self._session is not None:
            await self._session.until_calm()


class Sessions:
    """All voice sessions of this process."""

    def __init__(self, engines: Engines, settings: SophiaSettings) -> None:
        self.settings = settings
        self.store = HistoryStore(settings.resume_s, settings.max_sessions)
        self.live: dict[str, Connection] = {}
        """By resume token."""
        self.draining = asyncio.Event()
        self._engines = engines
        self._openings = OpeningRate(settings.opens_per_minute)
        self._open = 0
        self._emptied = asyncio.Event()

    def open(self, start: SessionStart, outbox: Outbox, tasks: asyncio.TaskGroup) -> Session:
        history = self._take_up(start.resume) if start.resume else History(self.settings.max_history_chars)
        return self.begin(start.config(), outbox, tasks, history)

    def begin(
        self,
        config: SessionConfig,
        outbox: Outbox,
        tasks: asyncio.TaskGroup,
        history: History | None = None,
    ) -> Session:
        history = history or History(self.settings.max_history_chars)
        return Session(config, self._engines, self.settings, history, outbox, tasks)

    async def check(self, config: SessionConfig) -> None:
        """Whether a session of this kind can be served. Raises InputError; PeerError where nova is away."""
        offer, own = config.offer, self._engines.toolbox.tools
        names = [tool.name for tool in offer.tools]
        if len(set(names)) < len(names):
            raise InputError("tools: two functions have the same name")
        if taken := own.keys() & set(names):
            raise InputError(f"tools: {min(taken)!r} is a function of this server's own")
        if offer.name and offer.name not in (*names, *own):
            raise InputError(f"tool_choice: there is no function {offer.name!r}")
        tools = Offer((*own.values(), *offer.tools)).text
        if not self.settings.context().takes(config.system or self.settings.system, tools):
            raise InputError("the instructions and tools leave no room for a question in the model's context")
        if offer.tools:
            await self._engines.answers.check_tools()

    async def drain(self) -> None:
        """Open no more sessions, and wait until those that are open have ended: each after its turn."""
        self.draining.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_s + FLUSH_DEADLINE_S):
                while self._open:
                    self._emptied.clear()
                    await self._emptied.wait()

    async def until_over(
        self, activity: Activity, until_calm: Callable[[], Awaitable[None]], admitted_until: float
    ) -> tuple[Error, int]:
        """Returns when a session has to end, with what to say and the code to close with: when nothing
        happens in it, when it has lasted too long, when what opened it expires (in Unix time), or, after
        its turn, when this process ends."""
        settings = self.settings
        longest = f"a session lasts at most {settings.max_session_s:g} s"
        end, lasts_s = (Error("session_too_long", longest, True), CLOSE_TOO_LONG), settings.max_session_s
        if (good_s := admitted_until - time.time()) < lasts_s:
            expired = "the token that opened this session has expired: come back with a new one"
            end, lasts_s = (Error("token_expired", expired, False), CLOSE_EXPIRED), good_s
        ends_at = time.monotonic() + lasts_s
        while not self.draining.is_set():
            now = time.monotonic()
            if now >= ends_at:
                return end
            if now >= activity.at + settings.idle_s:
                return Error("idle", f"nothing came for {settings.idle_s:g} s", True), CLOSE_IDLE
            with suppress(TimeoutError):
                async with asyncio.timeout(min(ends_at, activity.at + settings.idle_s) - now):
                    await self.draining.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(settings.drain_s):
                await until_calm()
        return self.restarting(), CLOSE_RESTART

    async def probe(self) -> None:
        """Raises Overloaded while this process opens no more sessions."""
        if self.draining.is_set():
            raise Overloaded(self.restarting().message)

    def restarting(self) -> Error:
        go_to, after_s = self.settings.drain_to, self.settings.retry_after_s
        told = (
            f"this server ends: go on at {go_to}"
            if go_to
            else f"this server ends: come back in {after_s:g} s"
        )
        return Error("restarting", told, True, retry_after_s=0.0 if go_to else after_s, go_to=go_to or None)

    def _refusal(self) -> tuple[Error, int] | None:
        """Why no session can be opened now, and the code to close with."""
        if self.draining.is_set():
            return self.restarting(), CLOSE_RESTART
        if self._open < self.settings.max_sessions:
            return None
        after_s = self.settings.retry_after_s
        told = f"all {self.settings.max_sessions} sessions are taken: come back in {after_s:g} s"
        return Error(Overloaded.code, told, True, retry_after_s=after_s), CLOSE_BUSY

    def _take_up(self, token: str) -> History:
        if (connection := self.live.pop(token, None)) is not None:
            return connection.hand_over()
        if (history := self.store.take(token)) is None:
            raise InputError("resume: this session is unknown or too old", hint="Start one without `resume`.")
        return history

    def _welcome(self, headers: Headers) -> bool:
        """A browser names the page's origin: our own page, or one that is allowed. Others name none."""
        origin = headers.get("origin")
        return (
            origin is None
            or origin in self.settings.allowed_origins
            or _same_host(origin, headers.get("host"))
        )

    async def serve(self, socket: WebSocket, wire: type[Wire]) -> None:
        if not self._welcome(socket.headers):
            await socket.close(CLOSE_POLICY, "pages of this origin are not allowed")
            return
        if (wait_s := self._openings.wait_s(socket.client.host if socket.client else "")) > 0:
            seconds = str(math.ceil(wait_s))
            told = f"too many sessions were opened from this address: come back in {seconds} s"
            headers = {"Retry-After": seconds}
            await socket.send_denial_response(
                problem(429, told, code=Overloaded.code, retryable=True, headers=headers)
            )
            return
        await socket.accept(subprotocol(socket.scope))
        if (refusal := self._refusal()) is not None:
            error, code = refusal
            FAULTS.labels(error.code).inc()
            with suppress(WebSocketDisconnect):
                await socket.send_text(wire.refusal(error))
            await close(socket, code, error.message)
            return
        self._open += 1
        SESSIONS.inc()
        try:
            await wire(socket, self).run()
        except Exception:
            log.exception("a voice session failed")
            await close(socket, CLOSE_INTERNAL)
        finally:
            self._open -= 1
            self._emptied.set()
            SESSIONS.dec()


def _same_host(origin: str, host: str | None) -> bool:
    return host is not None and urlsplit(origin).netloc.lower() == host.lower()


def router(sessions: Sessions) -> APIRouter:
    router = APIRouter()

    @router.websocket("/sophia/voice")
    async def voice(socket: WebSocket) -> None:
        await sessions.serve(socket, Connection)

    return router
