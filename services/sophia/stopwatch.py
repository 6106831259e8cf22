"""Where the time of a turn goes."""

from __future__ import annotations

import time

from services.sophia.metrics import TURN_STAGE


class Stopwatch:
    """Names the moments of a turn; a stage is the time since the moment before."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._last = time.monotonic()

    def mark(self, stage: str) -> bool:
        """The stage ends now. Only its first end counts, which is the one that is answered with True."""
        if stage in self.stages:
            return False
        now = time.monotonic()
        self.set(stage, (now - self._last) * 1e3)
        self._last = now
        return True

    def restart(self, before: Stopwatch) -> None:
        """Go on from there. What an early start has had by then took none of the time that counts."""
        self.stages = before.stages | dict.fromkeys(self.stages, 0.0)
        self._last = time.monotonic()

    def set(self, stage: str, duration_ms: float) -> None:
        self.stages[stage] = round(duration_ms, 2)
        TURN_STAGE.labels(stage).observe(duration_ms / 1e3)
