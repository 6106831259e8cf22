"""The media clock of one reply: what has been sent, what has been heard, and which words those were.

Sound is the clock. The listener is assumed to play what it is sent at once and without gaps; a
client that reports its real position (`playback {played_ms}`) corrects that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

NEWS_MS = 5.0
"""A step of the clock that is worth telling."""
REPEAT_S = 5.0
"""… and how often it is told that nothing happened: the clocks of two machines do not run alike."""


class MediaClock:
    """Milliseconds of one reply's audio. `now` gives seconds on a steady clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._anchor_ms = 0.0
        self._anchor_s: float | None = None  # None before the first sample, and while paused
        self._moved = asyncio.Event()
        self.sent_ms = 0.0
        self.paused = False
        self.finished = False

    def played_ms(self) -> float:
        if self._anchor_s is None:
            return self._anchor_ms
        return min(self.sent_ms, self._anchor_ms + (self._now() - self._anchor_s) * 1e3)

    def sent(self, duration_ms: float) -> None:
        """Audio went out. Where the listener had run dry, the clock stood still until now."""
        self._anchor(self.played_ms())
        self.sent_ms += duration_ms
        self._wake()

    def finish(self) -> None:
        """What was sent is all."""
        self.finished = True
        self._wake()

    def report(self, played_ms: float) -> None:
        """The listener says where it is."""
        self._anchor(max(0.0, min(self.sent_ms, played_ms)))
        self._wake()

    def pause(self) -> None:
        self._anchor(self.played_ms())
        self.paused, self._anchor_s = True, None
        self._wake()

    def resume(self) -> None:
        self.paused = False
        self._anchor(self._anchor_ms)
        self._wake()

    def _anchor(self, played_ms: float) -> None:
        self._anchor_ms = played_ms
        self._anchor_s = None if self.paused else self._now()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()  # each waiter holds the event that it waits for

    async def until_lead_below(self, lead_ms: float) -> None:
        """Wait until less than `lead_ms` of what was sent is still unheard, and the reply is not paused."""
        while self.paused or (ahead := self.sent_ms - self.played_ms() - lead_ms) >= 0:
            await self._until_moved(None if self.paused else (ahead + 0.5) / 1e3)

    async def until_sent(self, media_ms: float) -> None:
        """Wait until the sound of `media_ms` has been sent."""
        while self.sent_ms < media_ms:
            await self._until_moved(None)

    async def until_played_out(self) -> None:
        while self.paused or self.played_ms() < self.sent_ms:
            await self._until_moved(None if self.paused else (self.sent_ms - self.played_ms() + 0.5) / 1e3)

    async def moves(self) -> AsyncGenerator[tuple[float, bool], None]:
        """Where the sound is (ms) and whether it is paused, from its beginning until it has played out: at
        every move that is not the passing of time, and every REPEAT_S."""
        told: tuple[float, float, bool] | None = None  # when (s), and what
        while not (self.finished and not self.paused and self.played_ms() >= self.sent_ms):
            played_ms, paused, now = self.played_ms(), self.paused, self._now()
            if self.sent_ms and (told is None or self._is_news(*told) or now - told[0] >= REPEAT_S):
                told = now, played_ms, paused
                yield played_ms, paused
                continue  # it may have moved meanwhile
            left_s = (self.sent_ms - played_ms) / 1e3 if self.finished and not paused else REPEAT_S
            await self._until_moved(min(REPEAT_S, left_s + 5e-4))

    def _is_news(self, told_s: float, played_ms: float, paused: bool) -> bool:
        expected_ms = played_ms if paused else played_ms + (self._now() - told_s) * 1e3
        return paused != self.paused or abs(min(expected_ms, self.sent_ms) - self.played_ms()) > NEWS_MS

    async def _until_moved(self, timeout_s: float | None) -> None:
        moved = self._moved
        try:
            async with asyncio.timeout(timeout_s):
                await moved.wait()
        except TimeoutError:
            pass


CHARACTER_MS = 65
"""How long a letter lasts in speech, about; only for a clause whose length is not known yet."""


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of a clause and when its sound plays, ms from the start of the clause's audio."""

    word: str
    start_ms: float
    end_ms: float


@dataclass
class Clause:
    """One synthesised clause: its text, where its audio lies in the reply, and its words' times."""

    text: str
    start_ms: float
    duration_ms: float = 0.0
    words: tuple[SpokenWord, ...] = ()
    complete: bool = False
    """Whether all of its audio has come."""

    def heard(self, played_ms: float) -> str:
        """The part of the text whose sound was played, cut behind a whole word."""
        into = played_ms - self.start_ms
        if self.complete and into >= self.duration_ms > 0:
            return self.text
        if not self.words:
            return self._estimated(into)
        end = 0
        for word in self.words:
            if (word.start_ms + word.end_ms) / 2 > into:  # less than half of it was heard
                break
            found = self.text.find(word.word, end)
            end = found + len(word.word) if found >= 0 else end
        return self.text[:end] if end else ""

    def _estimated(self, into: float) -> str:
        """Without word times: characters in proportion to time, back to a whole word."""
        if self.duration_ms <= 0 or into <= 0:
            return ""
        whole_ms = self.duration_ms
        if not self.complete:
            whole_ms = max(whole_ms, len(self.text) * CHARACTER_MS)
        cut = self.text[: int(len(self.text) * into / whole_ms)]
        return cut.rsplit(" ", 1)[0] if " " in cut else ""


class Transcript:
    """What a reply has said so far, clause by clause, in the order of its audio."""

    def __init__(self) -> None:
        self._clauses: list[Clause] = []

    def begin(self, text: str, start_ms: float) -> Clause:
        clause = Clause(text, start_ms)
        self._clauses.append(clause)
        return clause

    def heard(self, played_ms: float) -> str:
        parts = [clause.heard(played_ms) for clause in self._clauses if clause.start_ms < played_ms]
        return " ".join(part for part in parts if part)
