"""Word times of synthesised speech, from espeak-ng's word and phone events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embedded.speech.espeak import Mark, WordMark
from embedded.speech.script import Span


@dataclass(frozen=True)
class SpokenWord:
    text: str
    start_ms: int
    end_ms: int


class WordClock:
    """A word ends where the next begins or, before a pause, where the pause begins.

    espeak-ng may announce a word in parts ("42" as two words): they are one word of the client's text.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._current: tuple[Span, int] | None = None
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
        self._end(self._last_ms)

    def take(self) -> list[SpokenWord]:
        """The words that ended since the last call."""
        done, self._done = self._done, []
        return done

    def _begin(self, mark: WordMark) -> None:
        span = next((span for span in self._spans if span.start <= mark.at < span.end), None)
        if span is None or (self._current is not None and span is self._current[0]):
            return
        self._end(mark.start_ms)
        self._current, self._silent_at = (span, mark.start_ms), None

    def _end(self, at_ms: int) -> None:
        if self._current is not None:
            span, start_ms = self._current
            end_ms = at_ms if self._silent_at is None else min(at_ms, self._silent_at)
            self._done.append(SpokenWord(span.word, start_ms, max(start_ms, end_ms)))
            self._current = None
