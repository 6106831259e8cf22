from __future__ import annotations

import math

import pytest

from services.aurora import metrics
from services.aurora.audio2face import MAX_MARKS
from services.aurora.timing import marks_of
from shared.phones import Phone, Word
from shared.wire.aurora.v1.aurora_pb2 import Mark, Timing


def ignored(reason: str) -> float:
    return metrics.MARKS_IGNORED.labels(reason)._value.get()


def test_phones_come_in_seconds_and_words_where_there_are_none() -> None:
    timing = Timing(
        phones=[Mark(label="m", start_ms=50, end_ms=120)], words=[Mark(label="me", start_ms=50, end_ms=300)]
    )
    assert marks_of(timing) == [Phone(0.05, 0.12, "m")]
    assert marks_of(Timing(words=timing.words)) == [Word(0.05, 0.3, "me")]


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        (Mark(label="m", start_ms=math.nan, end_ms=1), "not a number"),
        (Mark(label="m", start_ms=0, end_ms=math.inf), "not a number"),
        (Mark(label="m", start_ms=-1, end_ms=1), "no span of time"),
        (Mark(label="m", start_ms=2, end_ms=1), "no span of time"),
        (Mark(label="m" * 65, start_ms=0, end_ms=1), "too long a label"),
    ],
)
def test_what_would_harm_on_the_way_is_held_back_by_name(mark: Mark, reason: str) -> None:
    before = ignored(reason)
    assert marks_of(Timing(phones=[mark, Mark(label="p", start_ms=2, end_ms=3)])) == [
        Phone(0.002, 0.003, "p")
    ]
    assert ignored(reason) == before + 1


def test_a_million_phones_are_a_thousand() -> None:
    before = ignored("too many")
    timing = Timing(phones=[Mark(label="m", start_ms=at, end_ms=at + 1) for at in range(1_000_000)])
    assert len(marks_of(timing)) == MAX_MARKS
    assert ignored("too many") == before + 1_000_000 - MAX_MARKS
