"""What a caller says is spoken when, as far as a face can use it.

Only what would harm on the way is held back here: the face itself knows which phones it can show.
"""

from __future__ import annotations

from math import isfinite

from services.aurora import metrics
from services.aurora.audio2face import MAX_PHONES
from shared.phones import Phone
from shared.wire.aurora.v1 import aurora_pb2

MAX_LABEL = 16
"""Characters; a label names one phone."""


def phones_of(timing: aurora_pb2.Timing) -> list[Phone]:
    """The phones that last for some time, in s; the others are counted."""
    phones: list[Phone] = []
    for mark in timing.phones[:MAX_PHONES]:
        if not (isfinite(mark.start_ms) and isfinite(mark.end_ms)):
            metrics.PHONES_IGNORED.labels("not a number").inc()
        elif not 0 <= mark.start_ms < mark.end_ms:
            metrics.PHONES_IGNORED.labels("no span of time").inc()
        elif len(mark.label) > MAX_LABEL:
            metrics.PHONES_IGNORED.labels("unknown").inc()
        else:
            phones.append(Phone(mark.start_ms / 1e3, mark.end_ms / 1e3, mark.label))
    if len(timing.phones) > MAX_PHONES:
        metrics.PHONES_IGNORED.labels("too many").inc(len(timing.phones) - MAX_PHONES)
    return phones
