from __future__ import annotations

import math

import pytest
from riva.client.proto import riva_tts_pb2 as tts

from services.sophia import metrics
from services.sophia.phones import PhoneTimes
from shared.phones import Phone


def meta(phones: str, *durations_ms: float) -> tts.SynthesizeSpeechResponseMetadata:
    return tts.SynthesizeSpeechResponseMetadata(processed_text=phones, predicted_durations=durations_ms)


def ignored() -> float:
    return float(metrics.PHONES_IGNORED._value.get())


def test_phones_follow_each_other_from_piece_to_piece() -> None:
    times = PhoneTimes(told=True)
    phones = [*times.feed(meta("_ m aɪ", 10, 90, 200)), *times.feed(meta("")), *times.feed(meta("z", 100))]
    assert [phone.label for phone in phones] == ["_", "m", "aɪ", "z"]
    assert [phone.start_s for phone in phones] == pytest.approx([0, 0.01, 0.1, 0.3])
    assert [phone.end_s for phone in phones] == pytest.approx([0.01, 0.1, 0.3, 0.4])


def test_of_a_riva_that_does_not_say_that_these_are_phones_nothing_is_believed() -> None:
    assert PhoneTimes(told=False).feed(meta("my text", 3, 5)) == ()


@pytest.mark.parametrize("duration_ms", [math.nan, math.inf, -1, 1e9])
def test_behind_a_length_that_is_none_nothing_is_believed(duration_ms: float) -> None:
    times, before = PhoneTimes(told=True), ignored()
    assert times.feed(meta("m p b", 100, duration_ms, 100)) == (Phone(0, 0.1, "m"),)
    assert ignored() == before + 2
    assert times.feed(meta("m", 100)) == ()


@pytest.mark.parametrize("one", [meta("m p", 100), meta("m", 100, 100), meta("", 100)])
def test_as_many_lengths_as_phones_or_none_is_believed_from_there_on(
    one: tts.SynthesizeSpeechResponseMetadata,
) -> None:
    times = PhoneTimes(told=True)
    times.feed(one)
    assert times.feed(meta("m", 100)) == ()
