"""Phones and words that a caller names with their times, laid over what was read from the sound.

They come with the sound or before it, and from outside: whatever cannot be of this stream is passed over and
counted by its fault, and there the face goes by the sound. Of words, only what they say of the lips is taken.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from operator import attrgetter

import numpy as np

from embedded.face.blendshapes import ARTICULATORS, CLOSE, Array
from embedded.face.features import HOPS_PER_S
from embedded.face.spelling import spelled
from embedded.face.visemes import CONTEXT, movements, track
from shared.phones import Mark, Word

MAX_WAITING = 4096
"""Phones that may be known before their sound: some five minutes of speech."""
MAX_LABEL = 64
"""Characters. Asked before anything is looked up: what was looked up is remembered."""
MAX_PHONE_S = 30.0
"""The longest are pauses."""
OVERLAP_S = 0.005
"""By which neighbours may overlap: times are rounded on their way."""

_BLEND = 5
"""Hops over which the face goes over from the sound to the phones, and back."""
_RAMP: Array = np.full(_BLEND, 1 / _BLEND, np.float32)
_AHEAD = 20
"""Hops that are laid out beyond those asked for: sound comes in smaller pieces than phones."""
_start, _end = attrgetter("start_s"), attrgetter("end_s")


class TimedSpeech:
    """What is spoken in one stream, and when."""

    def __init__(self) -> None:
        self.used = 0
        self.faults: Counter[str] = Counter()
        """How many phones and words were passed over, by what was wrong with them."""
        self._phones = _Phones(slice(None))
        self._words = _Phones(slice(CLOSE, CLOSE + 1))

    def add(self, marks: Iterable[Mark]) -> None:
        for mark in marks:
            if len(mark.label) > MAX_LABEL:
                self.faults["too long a label"] += 1
            elif fault := self._add_word(mark) if isinstance(mark, Word) else self._phones.add(mark):
                self.faults[fault] += 1
            else:
                self.used += 1

    def _add_word(self, word: Word) -> str:
        """Of a word that is shown already its last sounds may still be to come. One that is not spelled in
        sounds, as "42", is none to go by and no fault."""
        faults = [self._words.add(phone) for phone in spelled(word)]
        return faults[-1] if faults else ""

    def lay_over(self, heard: Array, first: int) -> Array:
        """`heard` (n, 7) are the articulators of the hops from number `first` on, read from the sound; what
        is known there takes their place. Hops rise from call to call."""
        return self._phones.lay_over(self._words.lay_over(heard, first), first)


class _Phones:
    """Phones in order of which none lies over another, for those articulators that they are to move."""

    def __init__(self, articulators: slice) -> None:
        self._articulators = articulators
        self._phones: list[Mark] = []
        self._shown_s = 0.0
        self._moves: Array = np.zeros((0, len(ARTICULATORS)), np.float32)
        self._share: Array = np.zeros(0, np.float32)
        self._first = 0  # hop number of the first row of both

    def add(self, phone: Mark) -> str:
        """What is wrong with it, or nothing."""
        fault = self._fault(phone) or self._insert(phone)
        if not fault:
            self._moves, self._share = self._moves[:0], self._share[:0]
        return fault

    def lay_over(self, heard: Array, first: int) -> Array:
        until = first + len(heard)
        self._shown_s = until / HOPS_PER_S
        if not self._phones:
            return heard
        if until > self._first + len(self._moves):
            self._lay_out(first, len(heard) + _AHEAD)
        rows = slice(first - self._first, until - self._first)
        share = self._share[rows, None]
        laid, moved = heard.copy(), self._articulators
        laid[:, moved] += share * (self._moves[rows] - heard)[:, moved]
        return laid

    def _lay_out(self, first: int, count: int) -> None:
        del self._phones[: bisect(self._phones, (first - CONTEXT) / HOPS_PER_S, key=_end)]
        near = bisect(self._phones, (first + count + CONTEXT) / HOPS_PER_S, key=_start)
        margin = _BLEND // 2
        moves, known = track(self._phones[:near], first - margin, count + 2 * margin)
        self._first, self._moves = first, moves[margin : margin + count]
        self._share = np.convolve(known.astype(np.float32), _RAMP, "valid") * known[margin : margin + count]

    def _fault(self, phone: Mark) -> str:
        if not (math.isfinite(phone.start_s) and math.isfinite(phone.end_s)):
            return "not a number"
        if not 0 <= phone.start_s < phone.end_s <= phone.start_s + MAX_PHONE_S:
            return "no span of time"
        if movements(phone.label) is None:
            return "unknown"
        return "too late" if phone.end_s <= self._shown_s else ""

    def _insert(self, phone: Mark) -> str:
        """In its place; what rounding lays over a neighbour is cut off."""
        if len(self._phones) >= MAX_WAITING:
            return "too many"
        at = bisect(self._phones, phone.start_s, key=_start)
        after_s = self._phones[at - 1].end_s if at else 0.0
        before_s = self._phones[at].start_s if at < len(self._phones) else math.inf
        if phone.start_s < after_s - OVERLAP_S or phone.end_s > before_s + OVERLAP_S:
            return "over another"
        start_s, end_s = max(phone.start_s, after_s), min(phone.end_s, before_s)
        if start_s >= end_s:
            return "over another"
        self._phones.insert(at, replace(phone, start_s=start_s, end_s=end_s))
        return ""
