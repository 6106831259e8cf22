"""Those who watch: each frame, when due, as JSON to every viewer of its session (/aurora/frames).

A viewer never slows a turn down: its queue is bounded and drops its oldest message when full.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect

from services.aurora import metrics
from services.aurora.settings import AuroraSettings
from services.aurora.stage import Part, Stage
from shared.auth import subprotocol
from shared.errors import VoxloopError

log = logging.getLogger(__name__)

TRY_AGAIN_LATER = 1013  # RFC 6455's registry of close codes
MAX_RESTING = 64
"""Faces that rest between their replies; beyond it the oldest is let go."""


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
    """All of them, and the stages of the sessions that they watch."""

    def __init__(self, buffer_ms: float) -> None:
        self._buffer_ms = buffer_ms
        self._viewers: set[Viewer] = set()
        self._stages: dict[str, Stage] = {}

    def __len__(self) -> int:
        return len(self._viewers)

    @contextmanager
    def watching(self, session: str | None, capacity: int) -> Iterator[Viewer]:
        viewer = Viewer(session, capacity)
        for name, stage in self._stages.items():
            if session in (None, name):
                stage.greet(partial(_offer, [viewer], name))
        self._viewers.add(viewer)
        metrics.VIEWERS.inc()
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)
            metrics.VIEWERS.dec()

    @contextmanager
    def turn(self, session: str, turn: int) -> Iterator[TurnView]:
        """Whatever fails within leaves the frames that came; whatever else ends it early interrupts it."""
        stage = self._stage(session)
        part = stage.begin(turn)
        try:
            yield TurnView(stage, part)
        except VoxloopError:
            stage.close(part)
            raise
        except BaseException:
            stage.interrupt(part)
            raise
        stage.close(part)

    def follow(self, session: str, turn: int, played_ms: float, *, paused: bool) -> None:
        self._stage(session).follow(turn, played_ms, paused)

    def interrupt(self, session: str, turn: int) -> None:
        if stage := self._stages.get(session):
            stage.interrupt_turn(turn)

    def close(self) -> None:
        for stage in self._stages.values():
            stage.stop()
        self._stages.clear()

    def _stage(self, session: str) -> Stage:
        if found := self._stages.get(session):
            return found
        resting = [name for name, stage in self._stages.items() if stage.rests]
        for name in resting[: max(0, len(resting) + 1 - MAX_RESTING)]:
            self._stages.pop(name).stop()
        stage = Stage(
            partial(self._tell, session),
            lambda: bool(self._of(session)),
            partial(self._forget, session),
            self._buffer_ms,
        )
        self._stages[session] = stage
        return stage

    def _tell(self, session: str, kind: str, **fields: Any) -> None:
        _offer(self._of(session), session, kind, **fields)

    def _of(self, session: str) -> list[Viewer]:
        return [viewer for viewer in self._viewers if viewer.session in (None, session)]

    def _forget(self, session: str) -> None:
        self._stages.pop(session, None)


def _offer(viewers: Collection[Viewer], session: str, kind: str, **fields: Any) -> None:
    if viewers:
        message = orjson.dumps({"type": kind, "session": session} | fields)
        for viewer in viewers:
            viewer.offer(message)


class TurnView:
    """What the viewers get of one turn."""

    def __init__(self, stage: Stage, part: Part) -> None:
        self._stage = stage
        self._part = part

    def header(self, names: tuple[str, ...]) -> None:
        self._stage.header(self._part, names)

    def heard(self) -> None:
        """Its sound has begun."""
        self._stage.heard(self._part)

    def frame(self, t_ms: float, weights: tuple[float, ...]) -> None:
        self._stage.frame(self._part, t_ms, weights)


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
    except* WebSocketDisconnect:
        pass
    except* TimeoutError:
        log.warning("a viewer took nothing for %g s and is let go", timeout_s)


async def _send(socket: WebSocket, viewer: Viewer, timeout_s: float) -> None:
    while True:
        message = await viewer.next()
        async with asyncio.timeout(timeout_s):
            await socket.send_text(message.decode())


async def _leave(socket: WebSocket) -> None:
    """Viewers have nothing to say; reading tells when they are gone."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
