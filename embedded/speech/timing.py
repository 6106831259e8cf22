"""Word and phone times of synthesised speech, from espeak-ng's word and phone events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embedded.speech.espeak import Mark, PhoneMark, WordMark
from embedded.speech.script import Span
from shared.phones import PAUSE


@dataclass(frozen=True)
class SpokenWord:
    text: str
    start_ms: int
    end_ms: int


class WordClock:
    """A word ends where the next begins or, before a pause, where the pause begins.

    espeak-ng may announce one word twice ("42" in two parts), or two at once ("I am"): the first are
    put together, the second share their time by their letters. So no word of the client's is lost.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._ended = 0  # spans before this one have their times
        self._current = -1  # the span that sounds now
        self._started_ms = 0
        self._silent_at: int | None = None
        self._last_ms = 0
        self._done: list[SpokenWord] = []

    def add(self, marks: Sequence[Mark]) -> None:
        for mark in marks:
            self._last_ms = max(self._last_ms, mark.start_ms)
            if isinstance(mark, WordMark):
                self._begin(mark)
            elif not mark.is_pause:
                self._silent_at = None
            elif self._silent_at is None:
                self._silent_at = mark.start_ms

    def finish(self) -> None:
        self._end(len(self._spans), self._last_ms)

    def take(self) -> list[SpokenWord]:
        """The words that ended since the last call."""
        done, self._done = self._done, []
        return done

    def _begin(self, mark: WordMark) -> None:
        index = next((i for i, span in enumerate(self._spans) if span.start <= mark.at < span.end), -1)
        if index <= self._current:
            return
        if self._current >= 0:
            self._end(index, mark.start_ms)
        self._current, self._started_ms, self._silent_at = index, mark.start_ms, None

    def _end(self, next_index: int, at_ms: int) -> None:
        """The spans up to `next_index` were spoken between the last word mark and now."""
        spans, self._ended = self._spans[self._ended : next_index], next_index
        until = at_ms if self._silent_at is None else min(at_ms, self._silent_at)
        left, start = sum(len(span.word) for span in spans), self._started_ms
        for span in spans:
            end = start + max(0, until - start) * len(span.word) // left
            self._done.append(SpokenWord(span.word, start, end))
            left, start = left - len(span.word), end


@dataclass(frozen=True)
class SpokenPhone:
    ipa: str
    duration_ms: int


class PhoneClock:
    """The phones of a sound one behind the other, without a gap from its first sample on."""

    def __init__(self) -> None:
        self._current = PAUSE
        self._told_ms = 0
        self._done: list[SpokenPhone] = []

    def add(self, marks: Sequence[Mark]) -> None:
        for mark in marks:
            if isinstance(mark, PhoneMark):
                self._until(mark.start_ms)
                self._current = PAUSE if mark.is_pause else mark.ipa

    def reach(self, wanted_ms: float, known_ms: float) -> None:
        """All before `wanted_ms` is to be told. A phone that still goes on at `known_ms`, where the sound
        ends as yet, is told in two parts then."""
        if self._told_ms < wanted_ms:
            self._until(int(known_ms))

    def take(self) -> list[SpokenPhone]:
        """The phones whose ends became known since the last call."""
        done, self._done = self._done, []
        return done

    def _until(self, end_ms: int) -> None:
        if end_ms > self._told_ms:
            self._done.append(SpokenPhone(self._current, end_ms - self._told_ms))
            self._told_ms = end_ms
