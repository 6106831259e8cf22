"""Where the sound of a turn is. Sound is the clock: frames are due by it."""

from __future__ import annotations

import time
from collections.abc import Callable


class SoundClock:
    """Media time in ms that is heard now. It begins with the turn's first sound and runs in real time, as
    for a listener who plays at once and without gaps; who knows better says so with `follow`.

    `now` gives seconds on a steady clock.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._at_ms = 0.0
        self._since_s: float | None = None  # None before the first sound, and while it stands still
        self._followed = False

    @property
    def runs(self) -> bool:
        return self._since_s is not None

    def begin(self) -> bool:
        """Sound is there; whether that is news."""
        if self._followed or self._since_s is not None:
            return False
        self._since_s = self._now()
        return True

    def follow(self, played_ms: float, paused: bool) -> None:
        self._followed = True
        self._at_ms = played_ms
        self._since_s = None if paused else self._now()

    def heard_ms(self) -> float:
        if self._since_s is None:
            return self._at_ms
        return self._at_ms + (self._now() - self._since_s) * 1e3
