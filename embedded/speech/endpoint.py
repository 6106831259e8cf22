"""When an utterance begins and ends: Riva's EndpointingConfig over voice probabilities.

Riva's fields (riva_asr.proto): an utterance starts when `start_threshold` of the last `start_history`
ms hold speech, and ends when `stop_threshold` of the last `stop_history` ms hold none.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

WINDOW_MS = 32
VOICED, UNVOICED = 0.5, 0.35  # silero's own pair: a voiced stretch ends only below the lower one
PAUSE_MS = 96


class Event(Enum):
    STARTED = auto()
    PAUSED = auto()  # silent for PAUSE_MS, or for `eou_history_ms` where the client named one
    RESUMED = auto()  # it was only a pause
    ENDED = auto()


@dataclass(frozen=True)
class EndpointRule:
    """Histories in ms, thresholds as shares of the history, 0..1."""

    start_history_ms: int = 96
    start_threshold: float = 0.6
    stop_history_ms: int = 400
    stop_threshold: float = 0.95
    pause_ms: int = PAUSE_MS
    longest_ms: int = 20_000
    """An utterance ends there in any case; the next voiced sound begins another one."""


class Endpointer:
    """Takes one voice probability for each WINDOW_MS of sound and says what it changed."""

    def __init__(self, rule: EndpointRule) -> None:
        self._rule = rule
        self._start = deque[bool](maxlen=_windows(rule.start_history_ms))
        self._stop = deque[bool](maxlen=_windows(rule.stop_history_ms))
        self._pause = _windows(min(rule.pause_ms, rule.stop_history_ms))
        self._voiced = False
        self._quiet = 0
        self._length = 0
        self._longest = _windows(rule.longest_ms)
        self.speaking = False
        self.paused = False

    def push(self, probability: float) -> Event | None:
        self._voiced = probability >= (UNVOICED if self._voiced else VOICED)
        self._quiet = 0 if self._voiced else self._quiet + 1
        return self._while_speaking() if self.speaking else self._while_silent()

    def reset(self) -> None:
        """Forget the utterance, for one that was ended from outside."""
        self._start.clear()
        self._stop.clear()
        self._length = 0
        self.speaking = self.paused = False

    def _while_silent(self) -> Event | None:
        self._start.append(self._voiced)
        if not self._voiced or not _share(self._start, self._rule.start_threshold):
            return None
        self.reset()
        self.speaking = True
        return Event.STARTED

    def _while_speaking(self) -> Event | None:
        self._stop.append(not self._voiced)
        self._length += 1
        lasting_silence = not self._voiced and _share(self._stop, self._rule.stop_threshold)
        if lasting_silence or self._length >= self._longest:
            self.reset()
            return Event.ENDED
        if self.paused and self._voiced:
            self.paused = False
            return Event.RESUMED
        if not self.paused and self._quiet >= self._pause:
            self.paused = True
            return Event.PAUSED
        return None


def _windows(ms: int) -> int:
    return max(1, math.ceil(ms / WINDOW_MS))


def _share(history: deque[bool], threshold: float) -> bool:
    """A history that is not full yet counts its missing part as False."""
    return sum(history) >= max(1, math.ceil(threshold * (history.maxlen or 1)))
