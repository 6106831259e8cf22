"""One turn of hours through aurora, with the sound as fast as it is taken: are its frames in step at the end,
and does anything grow?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import grpc.aio
import numpy as np
import psutil
from numpy.typing import NDArray

from shared.audio import BYTES_PER_SAMPLE, RATE, duration_s
from shared.wire.aurora.v1 import aurora_pb2 as wire
from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraStub

FPS = 30
PIECE = RATE // 10 * BYTES_PER_SAMPLE
REACH = 15
"""Frames by which the end is shifted, to and fro, to find out where it fits the beginning best."""
WARM = 0.2
"""The share of the turn after which memory should be level."""
JAW = "JawOpen"


@dataclass
class LongTurn:
    """Speech of one length, over and over; each pass should look like the first."""

    loop_frames: int
    loops: int
    frames: int = 0
    wall_s: float = 0.0
    off_grid_ms: float = 0.0
    """The farthest that any frame's time was from its number ÷ 30."""
    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    """The jaw, in the first and in the last pass."""
    megabytes: list[float] = field(default_factory=list)
    """Held by all processes of the way, each time a twentieth of the turn had come."""

    @property
    def expected(self) -> int:
        return self.loop_frames * self.loops

    def take(self, t_ms: float, jaw: float) -> None:
        self.off_grid_ms = max(self.off_grid_ms, abs(t_ms - self.frames * 1e3 / FPS))
        if self.frames < self.loop_frames:
            self.first.append(jaw)
        elif self.frames >= self.expected - self.loop_frames:
            self.last.append(jaw)
        self.frames += 1

    def lag_ms(self) -> float | None:
        """How much later the last pass is than the first; None where they are not of one length."""
        if len(self.first) != len(self.last):
            return None
        shifts = range(-REACH, REACH + 1)
        return max(shifts, key=lambda shift: _likeness(self.first, self.last, shift)) * 1e3 / FPS

    def growth_mb(self) -> float:
        warm = self.megabytes[int(len(self.megabytes) * WARM) :]
        return warm[-1] - warm[0]


def _likeness(first: list[float], last: list[float], shift: int) -> float:
    a: NDArray[np.float64] = np.asarray(first)[REACH:-REACH]
    b: NDArray[np.float64] = np.asarray(last)[REACH + shift : len(last) - REACH + shift]
    return float(((a - a.mean()) * (b - b.mean())).sum() / (a.std() * b.std() + 1e-9))


async def long_turn(
    aurora: str, processes: tuple[psutil.Process, ...], seconds: float, speech: bytes
) -> LongTurn:
    """`speech` is PCM16 at 16 kHz. Raises AioRpcError where the turn fails."""
    speech += bytes(-len(speech) % PIECE)
    loops = max(2, round(seconds / duration_s(speech)))
    turn = LongTurn(round(duration_s(speech) * FPS), loops)
    async with grpc.aio.insecure_channel(aurora) as channel:
        call = AuroraStub(channel).Animate()
        writing = asyncio.create_task(_speak(call, speech, loops))
        began_s = time.monotonic()
        jaw = 0
        async for message in call:
            match message.WhichOneof("part"):
                case "header":
                    jaw = list(message.header.names).index(JAW)
                case "frame":
                    turn.take(message.frame.t_ms, message.frame.weights[jaw])
                    if turn.frames % max(1, turn.expected // 20) == 0:
                        turn.megabytes.append(sum(map(_megabytes, processes)))
        turn.wall_s = time.monotonic() - began_s
        await writing
    return turn


async def _speak(
    call: grpc.aio.StreamStreamCall[wire.AnimateRequest, wire.AnimateResponse], speech: bytes, loops: int
) -> None:
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the reading side tells
        await call.write(
            wire.AnimateRequest(start=wire.Start(sample_rate_hz=RATE, session_id="long", turn=1))
        )
        for piece in _pieces(speech, loops):
            await call.write(wire.AnimateRequest(audio=piece))
        await call.write(wire.AnimateRequest(end=wire.End()))
        await call.done_writing()


def _pieces(speech: bytes, loops: int) -> Iterator[bytes]:
    for _ in range(loops):
        for at in range(0, len(speech), PIECE):
            yield speech[at : at + PIECE]


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_full_info().uss) / 1e6
