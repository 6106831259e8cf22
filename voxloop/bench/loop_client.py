"""A listener that never stops sending: 20 ms of sound every 20 ms, a question now and then, and some that are
asked over the reply. What it notes are moments, on the clock that the engines share."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson
from websockets.asyncio.client import ClientConnection, connect

from shared.audio import BYTES_PER_SAMPLE, RATE
from shared.errors import PeerTimeout
from voxloop.bench.loop_marks import SIZE, Mark

STEP_S = 0.02
STEP = int(RATE * STEP_S) * BYTES_PER_SAMPLE
SILENCE = bytes(STEP)
ANSWER_S = 10.0
"""The longest wait for anything that a turn must bring."""
REPLY_MS, LONG_REPLY_MS = 1000, 8000
BARGE_AFTER_S = 1.5


@dataclass
class Turn:
    """Moments in seconds; None for what did not happen."""

    session: int
    number: int
    over_a_reply: bool
    began: float
    ended: float = 0.0
    first_audio: float | None = None
    paused: float | None = None
    interrupted: float | None = None


@dataclass
class Listener:
    """One session, from `run`'s beginning to its end."""

    number: int
    speech: bytes
    """PCM16 at 16 kHz that is voiced to its last sample."""
    turns: list[Turn] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _queue: list[bytes] = field(default_factory=list)
    _audio: asyncio.Event = field(default_factory=asyncio.Event)
    _bytes: int = 0
    _last_audio: float = 0.0
    _turn: Turn | None = None
    _said: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, url: str, seconds: float) -> None:
        """Raises nothing for a turn that fails: that is noted in `failures`."""
        async with connect(url, compression=None, max_size=None, proxy=None) as socket:
            tasks = [asyncio.create_task(coroutine) for coroutine in (self._send(socket), self._read(socket))]
            try:
                await self._talk(time.monotonic() + seconds)
            except TimeoutError:
                self.failures.append("no answer in time")
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def _talk(self, until: float) -> None:
        await asyncio.sleep(random.random() * 2)  # noqa: S311 - they need not come at once
        while time.monotonic() < until:
            is_long = len(self.turns) % 4 == 2  # every second question, as each of those brings another
            turn = await self._ask(LONG_REPLY_MS if is_long else REPLY_MS, over_a_reply=False)
            await self._first(turn)
            if is_long:
                await asyncio.sleep(BARGE_AFTER_S)
                turn = await self._ask(REPLY_MS, over_a_reply=True)
                await self._first(turn)
            await self._played_out()
            await asyncio.sleep(0.3 + random.random() * 0.5)  # noqa: S311 - likewise

    async def _ask(self, reply_ms: int, *, over_a_reply: bool) -> Turn:
        turn = Turn(self.number, len(self.turns) + 1, over_a_reply, 0.0)
        self.turns.append(turn)
        self._turn = turn
        marks = [Mark(begins, self.number, turn.number, reply_ms).encode() for begins in (True, False)]
        sound = marks[0] + self.speech[: len(self.speech) - 2 * SIZE] + marks[1]
        self._said.clear()
        self._queue = list(_steps(sound))
        async with asyncio.timeout(ANSWER_S):
            await self._said.wait()
        self._bytes = 0
        return turn

    async def _first(self, turn: Turn) -> None:
        async with asyncio.timeout(ANSWER_S):
            while turn.first_audio is None:
                self._audio.clear()
                await self._audio.wait()

    async def _played_out(self) -> None:
        """A listener's sound card is at the end of what has come, and nothing has come for a while."""
        while True:
            turn = self.turns[-1]
            done = (turn.first_audio or 0.0) + self._bytes / (RATE * BYTES_PER_SAMPLE)
            wait = max(done, self._last_audio + 0.4) - time.monotonic()
            if wait <= 0:
                return
            await asyncio.sleep(wait)

    async def _send(self, socket: ClientConnection) -> None:
        due = time.monotonic() + random.random() * STEP_S  # noqa: S311 - likewise
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            piece = self._queue.pop(0) if self._queue else None
            await socket.send(piece or SILENCE)
            if piece is not None and self._turn is not None:
                now = time.monotonic()
                self._turn.began = self._turn.began or now
                if not self._queue:
                    self._turn.ended = now
                    self._said.set()
            due += STEP_S

    async def _read(self, socket: ClientConnection) -> None:
        async for message in socket:
            now, turn = time.monotonic(), self._turn
            if isinstance(message, bytes):
                self._bytes += len(message)
                self._last_audio = now
                if turn is not None and turn.ended and turn.first_audio is None:
                    turn.first_audio = now
                self._audio.set()
                continue
            event = orjson.loads(message)
            if event["type"] == "error":
                self.failures.append(event["code"])
            elif turn is not None and turn.over_a_reply:
                if event["type"] == "reply.paused":
                    turn.paused = turn.paused or now
                elif event["type"] == "interrupted":
                    turn.interrupted = turn.interrupted or now


def _steps(sound: bytes) -> Iterator[bytes]:
    for start in range(0, len(sound), STEP):
        yield sound[start : start + STEP]


async def talk(url: str, sessions: int, seconds: float, speech: bytes) -> list[Listener]:
    """So many listeners at once for so long. Raises PeerTimeout where not one turn was answered."""
    listeners = [Listener(number + 1, speech) for number in range(sessions)]
    async with asyncio.TaskGroup() as group:
        for listener in listeners:
            group.create_task(listener.run(url, seconds))
            await asyncio.sleep(0.02)
    if not any(turn.first_audio for listener in listeners for turn in listener.turns):
        raise PeerTimeout("sophia", "not one of the benchmark's questions was answered")
    return listeners
