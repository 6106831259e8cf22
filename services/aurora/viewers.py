"""Those who watch: each frame as JSON to every viewer of its session, over /aurora/frames.

A viewer never slows a turn down: its queue is bounded and drops its oldest message when full.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect

from services.aurora import metrics
from services.aurora.settings import AuroraSettings
from shared.auth import subprotocol

TRY_AGAIN_LATER = 1013  # RFC 6455's registry of close codes


class Viewer:
    """One watcher's queue of encoded messages."""

    def __init__(self, session: str | None, capacity: int) -> None:
        self.session = session
        self._messages: deque[bytes] = deque(maxlen=capacity)
        self._some = asyncio.Event()

    @property
    def waiting(self) -> int:
        return len(self._messages)

    def offer(self, message: bytes) -> None:
        if len(self._messages) == self._messages.maxlen:
            metrics.VIEWER_DROPS.inc()
        self._messages.append(message)
        self._some.set()

    async def next(self) -> bytes:
        while not self._messages:
            self._some.clear()
            await self._some.wait()
        return self._messages.popleft()


class Viewers:
    """All of them, and the headers of the turns that run, for those who come in the middle of one."""

    def __init__(self) -> None:
        self._viewers: set[Viewer] = set()
        self._headers: dict[tuple[str, int], bytes] = {}

    def __len__(self) -> int:
        return len(self._viewers)

    @contextmanager
    def watching(self, session: str | None, capacity: int) -> Iterator[Viewer]:
        viewer = Viewer(session, capacity)
        for (of_session, _), header in self._headers.items():
            if session in (None, of_session):
                viewer.offer(header)
        self._viewers.add(viewer)
        metrics.VIEWERS.inc()
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)
            metrics.VIEWERS.dec()

    @contextmanager
    def turn(self, session: str, turn: int) -> Iterator[TurnView]:
        view = TurnView(self, session, turn)
        try:
            yield view
        finally:
            self._headers.pop((session, turn), None)
            view.ended()

    def announce(self, session: str, turn: int, header: bytes) -> None:
        self._headers[session, turn] = header
        self.offer(session, header)

    def offer(self, session: str, message: bytes) -> None:
        for viewer in self._viewers:
            if viewer.session in (None, session):
                viewer.offer(message)


class TurnView:
    """What the viewers see of one turn."""

    def __init__(self, viewers: Viewers, session: str, turn: int) -> None:
        self._viewers = viewers
        self._session = session
        self._turn = turn
        self._begun = False

    def header(self, names: tuple[str, ...], fps: float) -> None:
        self._begun = True
        message = self._encode("animation.header", names=names, fps=fps)
        self._viewers.announce(self._session, self._turn, message)

    def frame(self, t_ms: float, weights: tuple[float, ...]) -> None:
        if self._viewers:
            message = self._encode(
                "animation", t_ms=round(t_ms, 3), weights=[round(weight, 4) for weight in weights]
            )
            self._viewers.offer(self._session, message)

    def ended(self) -> None:
        """Also when the turn was cancelled: no frame of it follows, and the viewer rests its face."""
        if self._begun:
            self._viewers.offer(self._session, self._encode("animation.end"))

    def _encode(self, kind: str, **fields: Any) -> bytes:
        return orjson.dumps({"type": kind, "session": self._session, "turn": self._turn} | fields)


def router(viewers: Viewers, settings: AuroraSettings) -> APIRouter:
    routes = APIRouter(tags=["viewers"])

    @routes.websocket("/aurora/frames")
    async def frames(socket: WebSocket, session: Annotated[str | None, Query()] = None) -> None:
        await socket.accept(subprotocol(socket.scope))
        if len(viewers) >= settings.max_viewers:
            await socket.close(TRY_AGAIN_LATER, "too many viewers")
            return
        with viewers.watching(session, settings.viewer_queue) as viewer:
            await _watch(socket, viewer, settings.viewer_timeout_s)

    return routes


async def _watch(socket: WebSocket, viewer: Viewer, timeout_s: float) -> None:
    """Until the viewer leaves, or takes nothing for `timeout_s`."""
    try:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_send(socket, viewer, timeout_s))
            await _leave(socket)
            sending.cancel()
    except* (WebSocketDisconnect, TimeoutError):
        pass


async def _send(socket: WebSocket, viewer: Viewer, timeout_s: float) -> None:
    while True:
        message = await viewer.next()
        async with asyncio.timeout(timeout_s):
            await socket.send_text(message.decode())


async def _leave(socket: WebSocket) -> None:
    """Viewers have nothing to say; reading tells when they are gone."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
