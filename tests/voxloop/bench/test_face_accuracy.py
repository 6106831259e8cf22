"""The measure itself: what counts as a closure that was seen, and that the controls are controls."""

from __future__ import annotations

import numpy as np
import pytest

from embedded.face.engine import FPS
from voxloop.bench.face_accuracy import (
    by_voice,
    closures,
    f1,
    flite_figures,
    flite_utterances,
    hits,
    measure,
    truth,
    utterances,
)
from voxloop.bench.face_voices import Utterance

BABY = Utterance(
    np.zeros(16000, np.float32),
    ((0.1, 0.2, "b"), (0.2, 0.4, "eɪ"), (0.4, 0.5, "b"), (0.5, 0.6, "p"), (0.6, 0.8, "iː")),
)


def test_phones_that_close_the_lips_in_a_row_are_one_closure() -> None:
    assert closures(BABY) == [(0.1, 0.2), (0.4, 0.6)]


@pytest.mark.parametrize(
    ("shown", "counts"),
    [
        ([(0.1, 0.2), (0.4, 0.6)], [2, 0, 0]),
        ([], [0, 0, 2]),
        ([(0.22, 0.25)], [0, 1, 2]),
        ([(0.21, 0.25)], [1, 0, 1]),
        ([(0.0, 0.9)], [2, 0, 0]),
    ],
)
def test_a_closure_counts_when_it_meets_a_real_one(
    shown: list[tuple[float, float]], counts: list[int]
) -> None:
    assert hits(closures(BABY), shown, 0.015).tolist() == counts


def test_f1_of_nothing_is_nothing() -> None:
    assert f1(np.array([0, 0, 0])) == 0
    assert f1(np.array([2, 1, 1])) == 0.667


def test_the_jaw_follows_the_phones() -> None:
    jaw, speaks = truth(BABY, FPS)
    assert jaw[round(0.15 * FPS)] < 0.1
    assert jaw[round(0.25 * FPS)] > jaw[round(0.38 * FPS)] > jaw[round(0.5 * FPS)]  # from e to I, to b
    assert not speaks[0]
    assert not speaks[-1]


@pytest.mark.parametrize(
    "spoken", [pytest.param(utterances, id="espeak"), pytest.param(flite_utterances, id="flite")]
)
def test_the_face_is_much_better_than_chance_and_than_loudness(spoken) -> None:
    said = spoken()
    if not said:
        pytest.skip("flite is not installed")
    figures = measure(said)
    assert figures["closure_f1_audio"] > figures["closure_f1_chance"] + 0.15
    assert figures["jaw_r"] > figures["jaw_r_energy"] + 0.1 > 0.1


def test_figures_come_by_voice() -> None:
    spoken = utterances()
    rows = by_voice([spoken[0], spoken[-1]])
    assert [row["voice"] for row in rows] == ["en-us+m4", "en-us+f4"]
    assert rows[0]["jaw_r"] == measure(spoken[:1])["jaw_r"]


def test_without_flite_its_figures_are_none() -> None:
    assert set(flite_figures([]).values()) == {None}
