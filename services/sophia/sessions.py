"""All voice sessions of this process: who may open one, and when it has to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from services.sophia.connection import (
    CLOSE_BUSY,
    CLOSE_EXPIRED,
    CLOSE_IDLE,
    CLOSE_RESTART,
    CLOSE_TOO_LONG,
    FLUSH_DEADLINE_S,
    Activity,
)
from services.sophia.engines import Engines
from services.sophia.events import Error
from services.sophia.history import History, HistoryStore
from services.sophia.metrics import SESSIONS
from services.sophia.opening import OpeningRate
from services.sophia.outbox import Outbox
from services.sophia.session import Session
from services.sophia.session_config import SessionConfig
from services.sophia.settings import SophiaSettings
from services.sophia.tools import Offer
from shared.errors import InputError, Overloaded


class Sessions:
    """All voice sessions of this process."""

    def __init__(self, engines: Engines, settings: SophiaSettings) -> None:
        self.settings = settings
        self.store = HistoryStore(settings.resume_s, settings.max_sessions)
        self.live: dict[str, Callable[[], History]] = {}
        """How each open session is handed over, by its resume token."""
        self.openings = OpeningRate(settings.opens_per_minute)
        self.draining = asyncio.Event()
        self._engines = engines
        self._open = 0
        self._emptied = asyncio.Event()

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

    def refusal(self) -> tuple[Error, int] | None:
        """Why no session can be opened now, and the code to close with."""
        if self.draining.is_set():
            return self.restarting(), CLOSE_RESTART
        if self._open < self.settings.max_sessions:
            return None
        after_s = self.settings.retry_after_s
        told = f"all {self.settings.max_sessions} sessions are taken: come back in {after_s:g} s"
        return Error(Overloaded.code, told, True, retry_after_s=after_s), CLOSE_BUSY

    def take_up(self, token: str) -> History:
        """The conversation of a session that broke. Raises InputError where there is none of this token."""
        if (hand_over := self.live.pop(token, None)) is not None:
            return hand_over()
        if (history := self.store.take(token)) is None:
            raise InputError("resume: this session is unknown or too old", hint="Start one without `resume`.")
        return history

    def welcomes(self, headers: Headers) -> bool:
        """A browser names the page's origin: our own page, or one that is allowed. Others name none."""
        origin = headers.get("origin")
        return (
            origin is None
            or origin in self.settings.allowed_origins
            or _same_host(origin, headers.get("host"))
        )

    @contextmanager
    def counted(self) -> Iterator[None]:
        """One more is open."""
        self._open += 1
        SESSIONS.inc()
        try:
            yield
        finally:
            self._open -= 1
            self._emptied.set()
            SESSIONS.dec()


def _same_host(origin: str, host: str | None) -> bool:
    return host is not None and urlsplit(origin).netloc.lower() == host.lower()
