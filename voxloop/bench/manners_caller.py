"""A caller with a microphone that never stops and a sound card that plays what comes, as a browser's does.

The card holds its sound while a reply is paused, and tells sophia how far it is. What it has played is known
to the sample: that is what was heard.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from shared.audio import BYTES_PER_SAMPLE, RATE
from shared.errors import PeerProtocol, PeerTimeout

STEP_S = 0.02
STEP = int(RATE * STEP_S) * BYTES_PER_SAMPLE
BUFFERED_S = 0.06
"""A card begins so long after the first sound has come, so that it does not run dry."""
REPORT_S = 0.1
ANSWER_S = 40.0
"""The longest wait for anything that must come."""
_ROOM = np.random.default_rng(0).normal(0, 3, RATE).astype("<i2").tobytes()
"""A second of a quiet room: digital silence is no microphone's."""


class Card:
    """Samples of one reply that have come and that have been played. `now` gives seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._played = 0.0  # until `_since`
        self._since: float | None = None  # None while it waits for sound, or is held
        self._held = False
        self.received = 0

    @property
    def played(self) -> float:
        if self._since is None:
            return self._played
        played = self._played + max(0.0, self._now() - self._since) * RATE
        return min(played, self.received)

    def feed(self, samples: int) -> None:
        self._settle()
        self.received += samples
        if self._since is None and not self._held:
            self._since = self._now() + BUFFERED_S

    def hold(self) -> None:
        self._played, self._since, self._held = self.played, None, True

    def go_on(self) -> None:
        self._held = False
        if self._played < self.received:
            self._since = self._now()

    def _settle(self) -> None:
        if self._since is not None and self.played >= self.received:  # it has run dry
            self._played, self._since = self.received, None


@dataclass
class Turn:
    """One reply as it came, and how far it was heard."""

    number: int
    card: Card = field(default_factory=Card)
    pieces: list[str] = field(default_factory=list)
    pcm: bytearray = field(default_factory=bytearray)
    pauses: int = 0
    spoken: str | None = None
    """What `interrupted` said of it."""
    heard: float = 0.0
    """Samples that had been played by then."""
    error: dict[str, Any] | None = None
    done: bool = False
    """All of it has come."""

    @property
    def is_over(self) -> bool:
        return self.done or self.spoken is not None or self.error is not None


class Caller:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._to_say: deque[bytes] = deque()
        self._said = asyncio.Event()
        self._news = asyncio.Event()
        self.turns: list[Turn] = []
        self.finals: list[dict[str, Any]] = []
        self.faults: list[dict[str, Any]] = []
        """Errors that ended no turn."""
        self.lost = ""
        """Why the session ended, where nobody asked it to."""

    @property
    def turn(self) -> Turn:
        return self.turns[-1]

    async def send(self, **message: Any) -> None:
        await self._socket.send(orjson.dumps(message).decode())

    async def say(self, pcm: bytes) -> None:
        """Into the microphone, at the pace of speech; returns when all of it is sent."""
        self._said.clear()
        self._to_say.extend(pcm[start : start + STEP] for start in range(0, len(pcm), STEP))
        await self.until(self._said.is_set)

    async def ask(self, text: str) -> Turn:
        """A typed turn, which must have begun when this returns. Raises PeerTimeout, PeerProtocol."""
        before = len(self.turns)
        await self.send(type="text", text=text)
        await self.until(lambda: len(self.turns) > before)
        return self.turn

    async def until(self, reached: Callable[[], bool], timeout_s: float = ANSWER_S) -> None:
        """Raises PeerTimeout, and PeerProtocol where the session is lost."""
        try:
            async with asyncio.timeout(timeout_s):
                while not reached():
                    if self.lost:
                        raise PeerProtocol("sophia", f"lost a session: {self.lost}")
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise PeerTimeout("sophia", f"what must come did not within {timeout_s:g} s") from None

    async def until_over(self, turn: Turn) -> None:
        await self.until(lambda: turn.is_over)

    async def until_cut(self, turn: Turn) -> bool:
        """Until it is interrupted or fails; False where its end was heard first. Raises PeerTimeout."""
        try:
            async with asyncio.timeout(ANSWER_S):
                while turn.spoken is None and turn.error is None:
                    if self.lost or (turn.done and turn.card.played >= turn.card.received):
                        return False
                    await asyncio.sleep(STEP_S)
        except TimeoutError:
            raise PeerTimeout("sophia", f"neither ended a reply nor cut it within {ANSWER_S:g} s") from None
        return True

    async def until_answered(self, interrupted: Turn) -> None:
        """Until what interrupted that reply has its own, all of it."""
        await self.until(lambda: self.turn is not interrupted and self.turn.is_over)

    async def until_heard(self, samples: float) -> None:
        """Until the card has played so much of the present reply, or it is over and no more will be."""
        turn = self.turn
        while turn.card.played < min(  # noqa: ASYNC110 - time passes in the card, and tells nobody
            samples, turn.card.received if turn.is_over else samples
        ):
            await asyncio.sleep(STEP_S)

    async def skip(self) -> None:
        """The rest of the reply counts as heard, so that the next turn need not wait for it."""
        await self.send(type="playback", played_ms=1e9)

    async def run(self) -> None:
        """Speaks, listens and reports until cancelled, or until the session is lost."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._speak())
                tasks.create_task(self._report())
                await self._listen()
        except* ConnectionClosed as closed:
            self.lost = self.lost or str(closed.exceptions[0])
        self._news.set()

    async def _speak(self) -> None:
        due, at = time.monotonic(), 0
        while True:
            piece = self._to_say.popleft() if self._to_say else _ROOM[at : at + STEP]
            at = (at + STEP) % len(_ROOM)
            await self._socket.send(piece)
            if not self._to_say and not self._said.is_set():
                self._said.set()
                self._news.set()
            due += STEP_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            if self.turns and self.turn.card.played < self.turn.card.received:
                await self._tell_position()

    async def _tell_position(self) -> None:
        await self.send(type="playback", played_ms=self.turn.card.played / RATE * 1e3)

    async def _listen(self) -> None:
        while True:
            message = await self._socket.recv()
            if isinstance(message, bytes):
                self.turn.pcm += message
                self.turn.card.feed(len(message) // BYTES_PER_SAMPLE)
            else:
                await self._on_event(orjson.loads(message))
            self._news.set()

    async def _on_event(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "reply.started":
                self.turns.append(Turn(event["turn"]))
            case "reply.text":
                self.turn.pieces.append(event["text"])
            case "reply.paused":
                self.turn.card.hold()
                self.turn.pauses += 1
                await self._tell_position()
            case "reply.resumed":
                self.turn.card.go_on()
            case "interrupted":
                turn = next(turn for turn in self.turns if turn.number == event["turn"])
                turn.card.hold()
                turn.spoken, turn.heard = event["spoken_text"], turn.card.played
            case "turn.metrics":
                self.turn.done = True
            case "transcript.final":
                self.finals.append(event)
            case "error" if "turn" in event:
                next(turn for turn in self.turns if turn.number == event["turn"]).error = event
            case "error":
                self.faults.append(event)


@asynccontextmanager
async def caller(url: str, **start: Any) -> AsyncIterator[Caller]:
    """A session, from its opening to its end."""
    async with connect(url, compression=None, max_size=None, proxy=None) as socket:
        session = Caller(socket)
        await session.send(type="session.start", **start)
        running = asyncio.create_task(session.run())
        try:
            yield session
        finally:
            running.cancel()
            await asyncio.wait([running])
            if not running.cancelled():
                running.result()
            with suppress(ConnectionClosed):
                await session.send(type="session.end")
