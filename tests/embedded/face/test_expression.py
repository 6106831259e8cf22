from __future__ import annotations

import numpy as np
import pytest

from embedded.face.blendshapes import INDEX
from embedded.face.engine import FPS
from embedded.face.expression import POSES, Emotions, blink

TIMES = np.arange(10 * FPS) / FPS


@pytest.mark.parametrize(
    ("emotion", "shape"),
    [
        ("joy", "MouthSmileLeft"),
        ("sadness", "MouthFrownRight"),
        ("anger", "BrowDownLeft"),
        ("fear", "EyeWideLeft"),
    ],
)
def test_an_emotion_shows_mildly_in_the_shape_that_stands_for_it(emotion: str, shape: str) -> None:
    weights = Emotions({emotion: 1.0}).weights(TIMES, 1 / FPS)
    assert 0.2 < weights[-1, INDEX[shape]] < 0.8


def test_audio2faces_ten_emotions_are_known() -> None:
    assert sorted(POSES) == [
        "amazement", "anger", "cheekiness", "disgust", "fear",
        "grief", "joy", "outofbreath", "pain", "sadness",
    ]  # fmt: skip


def test_no_emotion_is_a_neutral_face() -> None:
    assert not Emotions({}).weights(TIMES, 1 / FPS).any()


def test_an_emotion_begins_at_its_time_and_fades_in() -> None:
    emotions = Emotions({}, transition_s=0.5)
    emotions.add(2.0, {"joy": 1.0})
    smile = emotions.weights(TIMES, 1 / FPS)[:, INDEX["MouthSmileLeft"]]
    assert not smile[: 2 * FPS].any()
    assert (np.diff(smile[2 * FPS - 1 :]) >= 0).all()
    assert smile[2 * FPS + FPS // 2] > 0.9 * smile[-1]


def test_the_newest_set_replaces_the_one_before() -> None:
    emotions = Emotions({"joy": 1.0})
    emotions.add(3.0, {"sadness": 1.0})
    weights = emotions.weights(TIMES, 1 / FPS)
    assert weights[-1, INDEX["MouthSmileLeft"]] < 0.01 < weights[-1, INDEX["MouthFrownLeft"]]


def test_values_outside_0_to_1_are_held_there_and_unknown_names_remembered() -> None:
    emotions = Emotions({"joy": 7.0, "hunger": 1.0}, strength=1.0)
    emotions.add(0.0, {"joy": 9.0, "thirst": 1.0})
    weights = emotions.weights(TIMES, 1 / FPS)
    assert np.allclose(weights[-1], POSES["joy"], atol=1e-3)
    assert emotions.unknown == {"hunger", "thirst"}


def test_the_strength_scales_what_is_shown() -> None:
    full, half = (Emotions({"joy": 1.0}, strength=s).weights(TIMES, 1 / FPS) for s in (1.0, 0.5))
    assert np.allclose(full, 2 * half)


def test_the_eyes_blink_every_few_seconds_and_are_open_most_of_the_time() -> None:
    lid = blink(np.arange(60 * FPS) / FPS)[:, INDEX["EyeBlinkLeft"]]
    starts = np.flatnonzero((lid[1:] > 0) & (lid[:-1] == 0))
    assert 10 <= len(starts) <= 25
    assert lid.max() > 0.5
    assert (lid == 0).mean() > 0.85
    assert lid.min() >= 0
    assert lid.max() <= 1
