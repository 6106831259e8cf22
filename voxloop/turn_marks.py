"""One turn as its client saw it: the server's stages, and the client's own marks beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Span = tuple[float, float]


class Outcome(StrEnum):
    DONE = "done"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    UNFINISHED = "unfinished"


@dataclass
class TurnMarks:
    """Moments are ms on the client's clock since `reply.started` came; None for what has not happened."""

    number: int
    question: str = ""
    answer: str = ""
    """Of an interrupted reply, what was heard of it."""
    stages: dict[str, float | None] = field(default_factory=dict)
    """ms, in the server's order; None where it told something that is no length of time."""
    first_audio: float | None = None
    audio_ms: float = 0.0
    """How long the sound is that has come."""
    first_frame: float | None = None
    face_ms: float = 0.0
    """Media time of the last frame."""
    frames: int = 0
    pauses: list[Span] = field(default_factory=list)
    """While somebody spoke over the reply; the last one ends with the turn at the latest."""
    ended: float | None = None
    outcome: Outcome = Outcome.UNFINISHED
    heard_ms: float = 0.0
    """Of an interrupted reply, how much sound was heard, as the server told it."""

    def tell_stages(self, stages: Mapping[str, object]) -> None:
        self.stages = {name: _length(ms) for name, ms in stages.items()}

    def audio(self, at: float, length_ms: float) -> None:
        if self.first_audio is None:
            self.first_audio = at
        self.audio_ms += length_ms

    def frame(self, at: float, t_ms: float) -> None:
        if self.first_frame is None:
            self.first_frame = at
        self.face_ms = t_ms
        self.frames += 1

    def pause(self, at: float) -> None:
        self.resume(at)
        self.pauses.append((at, math.inf))

    def resume(self, at: float) -> None:
        if self.pauses and self.pauses[-1][1] == math.inf:
            self.pauses[-1] = (self.pauses[-1][0], at)

    def end(self, at: float, outcome: Outcome) -> None:
        """A reply that has been sent whole may still be interrupted while its end is heard."""
        self.ended, self.outcome = at, outcome
        self.resume(at)

    def leave(self, at: float) -> None:
        """The client hears no more of it."""
        self.resume(at)
        if self.ended is None:
            self.ended = at


def _length(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    return None
