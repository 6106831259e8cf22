"""The measure itself: what counts as a closure that was seen, and that the controls are controls."""

from __future__ import annotations

import numpy as np
import pytest

from embedded.face.engine import FPS
from voxloop.bench.face_accuracy import Utterance, closures, f1, hits, measure, truth, utterances

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


def test_the_face_is_better_than_chance_and_than_loudness() -> None:
    figures = measure(utterances()[:6])
    assert figures["closure_f1_audio"] > figures["closure_f1_chance"]
    assert figures["jaw_r"] > figures["jaw_r_energy"] > 0
