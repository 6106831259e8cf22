"""aurora.v1 over gRPC: who calls, for how long, and what they are told when it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import isfinite
from typing import Any

import grpc
import grpc.aio

from services.aurora import metrics
from services.aurora.audience import Audience
from services.aurora.bridge import Turn, TurnAbandoned
from services.aurora.recorder import Recorder
from services.aurora.settings import AuroraSettings
from services.aurora.upstream import Upstream
from services.aurora.viewers import Viewers
from shared import channels
from shared.errors import InputError, PeerError, VoxloopError
from shared.outgoing import Outgoing
from shared.wire.aurora.v1 import aurora_pb2
from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraServicer

log = logging.getLogger(__name__)


class FaceService(AuroraServicer):
    def __init__(
        self, upstream: Upstream, viewers: Viewers, recorder: Recorder | None, settings: AuroraSettings
    ) -> None:
        self._upstream = upstream
        self._viewers = viewers
        self._recorder = recorder
        self._settings = settings
        self._turns: dict[Turn, str] = {}  # that run, with their sessions

    def feel(self, session: str | None, emotions: Mapping[str, float]) -> int:
        """The turns that run, of one session or of all, take other emotions from here on; returns how many
        there were."""
        turns = [turn for turn, of_session in self._turns.items() if session in (None, of_session)]
        for turn in turns:
            turn.feel(emotions)
        return len(turns)

    # The stubs know generators only; with context.write a caller that does not read meets a deadline.
    async def Animate(  # type: ignore[override]  # noqa: N802 - the protocol's name
        self, _: object, context: Any
    ) -> None:
        caller = _Caller(context, self._settings.caller_timeout_s)
        try:
            with _counted():
                await self._animate(caller)
        except TurnAbandoned:
            await caller.outgoing.abort(grpc.StatusCode.CANCELLED, "the stream ended without End")
        except VoxloopError as error:
            await _refuse(caller.outgoing, error)

    async def Follow(  # noqa: N802 - the protocol's name
        self, _: object, context: Any
    ) -> aurora_pb2.Followed:
        caller = _Caller(context, self._settings.caller_timeout_s)
        try:
            await self._follow(caller)
        except InputError as error:
            await _refuse(caller.outgoing, error)
        return aurora_pb2.Followed()

    async def _follow(self, caller: _Caller) -> None:
        """Until `ended`. Some callers cancel by closing their side, so every other ending interrupts."""
        last = aurora_pb2.Position(ended=True)
        try:
            while (position := await caller.read()) is not None:
                last = position
                if last.ended:
                    return
                if not (isfinite(last.played_ms) and last.played_ms >= 0):
                    raise InputError(f"played_ms is {last.played_ms}; it counts from 0, in milliseconds")
                self._viewers.follow(last.session_id, last.turn, last.played_ms, paused=last.paused)
        finally:
            if not last.ended:
                self._viewers.interrupt(last.session_id, last.turn)

    async def _animate(self, caller: _Caller) -> None:
        first = await caller.read()
        if first is None:
            raise TurnAbandoned
        if first.WhichOneof("part") != "start":
            raise InputError("the first message must be Start")
        start = first.start
        turn = Turn(start, self._settings, caller.read, caller.outgoing.write)
        with ExitStack() as stack:
            view = stack.enter_context(self._viewers.turn(start.session_id, start.turn))
            recording = None
            if self._recorder:
                seat = self._recorder.turn(start.session_id, start.turn, start.sample_rate_hz)
                recording = stack.enter_context(seat)
            self._turns[turn] = start.session_id
            stack.callback(self._turns.pop, turn)
            await turn.run(self._upstream, Audience(view, recording))


class _Caller:
    """The two directions of a call, each with a deadline."""

    def __init__(self, context: Any, timeout_s: float) -> None:
        self._context = context
        self._timeout_s = timeout_s
        self.outgoing = Outgoing[Any](context, timeout_s)

    async def read(self) -> Any:
        """None once the caller has closed its side."""
        try:
            async with asyncio.timeout(self._timeout_s):
                message = await self._context.read()
        except TimeoutError:
            raise InputError(f"the caller sent nothing for {self._timeout_s:g} s") from None
        return None if message is grpc.aio.EOF else message


@contextmanager
def _counted() -> Iterator[None]:
    """Ends before the abort does, which waits for a caller that reads."""
    metrics.ACTIVE.inc()
    outcome = "cancelled"
    try:
        yield
        outcome = "done"
    except VoxloopError:
        outcome = "failed"
        raise
    finally:
        metrics.ACTIVE.dec()
        metrics.TURNS.labels(outcome).inc()


async def _refuse(outgoing: Outgoing[Any], error: VoxloopError) -> None:
    """Ends the call with the status of `error`; the trailing metadata say its code and whether to retry."""
    if isinstance(error, PeerError):
        metrics.PEER_ERRORS.labels(error.code).inc()
        log.warning("%s (%s)", error, error.code)
    metadata = (("voxloop-code", error.code), ("voxloop-retryable", "1" if error.retryable else "0"))
    await outgoing.abort(channels.status_of(error), str(error), metadata)
