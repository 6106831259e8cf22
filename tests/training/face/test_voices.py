from __future__ import annotations

import random

import pytest

from training.face.voices import FLITE, VARIANTS, Cast
from voxloop.bench.face_voices import FLITE_JUDGE, JUDGES, has_flite

JUDGING = {judge.espeak.partition("+")[2] for judge in JUDGES}

needs_flite = pytest.mark.skipif(not has_flite(), reason="flite is not installed")


def spoken_by(cast: Cast, count: int) -> set[str]:
    rng = random.Random(5)
    return {one.voice for _ in range(count) for one in cast.say(rng, 1)}


def test_no_voice_that_judges_is_among_those_of_training() -> None:
    assert len(JUDGING) == len(JUDGES)
    assert not JUDGING & set(VARIANTS)


def test_espeak_s_judges_are_not_heard_in_training() -> None:
    voices = spoken_by(Cast(flite=0), 150)
    assert len(voices) > 50
    assert not {variant for variant in JUDGING for voice in voices if voice.endswith(f"+{variant}")}


@needs_flite
def test_flite_s_judge_is_not_heard_in_training() -> None:
    assert spoken_by(Cast(flite=1), 25) == {f"flite {one}" for one in FLITE if one != FLITE_JUDGE}


@needs_flite
def test_a_speaker_with_two_recordings_is_left_out_with_both() -> None:
    assert not {"flite kal", "flite kal16"} & spoken_by(Cast(without="kal16", flite=1), 20)


@needs_flite
def test_a_voice_says_all_sentences_of_a_stream() -> None:
    rng = random.Random(2)
    for _ in range(4):
        first, second = Cast().say(rng, 2)
        assert first.voice == second.voice
        assert len(first.phones) > 5
