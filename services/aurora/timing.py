"""What a caller says is spoken when, as far as a face can use it.

Only what would harm on the way is held back here: the face itself knows what it can show.
"""

from __future__ import annotations

from math import isfinite

from services.aurora import metrics
from services.aurora.audio2face import MAX_MARKS
from shared.phones import Mark, Phone, Word
from shared.wire.aurora.v1 import aurora_pb2

MAX_LABEL = 64
"""Characters of the longest word."""


def marks_of(timing: aurora_pb2.Timing) -> list[Mark]:
    """The phones, or the words where no phones come, in s. What lasts no time is counted and left out."""
    kind, told = (Phone, timing.phones) if timing.phones else (Word, timing.words)
    marks: list[Mark] = []
    for mark in told[:MAX_MARKS]:
        if fault := _fault(mark):
            metrics.MARKS_IGNORED.labels(fault).inc()
        else:
            marks.append(kind(mark.start_ms / 1e3, mark.end_ms / 1e3, mark.label))
    if len(told) > MAX_MARKS:
        metrics.MARKS_IGNORED.labels("too many").inc(len(told) - MAX_MARKS)
    return marks


def _fault(mark: aurora_pb2.Mark) -> str:
    if not (isfinite(mark.start_ms) and isfinite(mark.end_ms)):
        return "not a number"
    if not 0 <= mark.start_ms < mark.end_ms:
        return "no span of time"
    return "too long a label" if len(mark.label) > MAX_LABEL else ""
