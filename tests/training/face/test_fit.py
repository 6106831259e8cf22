from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedded.face.blendshapes import ARTICULATORS, Array
from embedded.face.features import BANDS
from embedded.face.network import CONTEXT, HISTORY, REST, Network, write
from training.face.corpus import Corpus
from training.face.fit import WEIGHT, Plan, Trainer

PLAN = Plan(hidden=(12, 8), epochs=3, rows=32, noise=0, drop=0)
ROWS = 700


@pytest.fixture(scope="module")
def speech() -> Corpus:
    """What is to be shown depends on bands of the hop itself and of those around it."""
    random = np.random.default_rng(0)
    features = random.normal(-1.5, 0.8, (ROWS, BANDS)).astype(np.float32)
    targets = np.stack(
        [np.roll(features[:, band], band % 3) > -1.5 for band in range(len(ARTICULATORS))], axis=1
    )
    return Corpus(features, targets.astype(np.float32), np.arange(HISTORY + 5, ROWS - 10))


def shown(trainer: Trainer, speech: Corpus, folder: Path) -> Array:
    write(folder / "network.npz", trainer.network())
    return Network(folder / "network.npz").articulate(speech.features)


def test_it_learns(speech: Corpus, tmp_path: Path) -> None:
    plan = Plan(hidden=(32, 16), epochs=60, rows=32, rate=5e-3, noise=0, drop=0)
    trainer = Trainer(speech, plan, tmp_path / "checkpoint.npz")
    trainer.train()
    right = (shown(trainer, speech, tmp_path) > 0.5) == (
        speech.targets[HISTORY : HISTORY + ROWS - CONTEXT + 1] > 0.5
    )
    assert right.mean() > 0.9


def test_training_that_was_ended_goes_on_to_the_same_result(speech: Corpus, tmp_path: Path) -> None:
    whole = Trainer(speech, PLAN, tmp_path / "whole.npz")
    whole.train()

    class Ended(Exception):
        pass

    class EndedTrainer(Trainer):
        def _save(self) -> None:
            super()._save()
            if self.epoch == 2:
                raise Ended

    with pytest.raises(Ended):
        EndedTrainer(speech, PLAN, tmp_path / "ended.npz").train()
    resumed = Trainer(speech, PLAN, tmp_path / "ended.npz")
    assert resumed.epoch == 2
    resumed.train()
    for one, other in zip(resumed.weights, whole.weights, strict=True):
        assert np.array_equal(one, other)


def test_a_checkpoint_of_another_plan_is_not_gone_on_with(speech: Corpus, tmp_path: Path) -> None:
    Trainer(speech, PLAN, tmp_path / "checkpoint.npz").train()
    with pytest.raises(SystemExit, match="another plan"):
        Trainer(speech, Plan(hidden=(12, 8), epochs=4, rows=32), tmp_path / "checkpoint.npz")


def test_steps_go_down_the_slope(speech: Corpus, tmp_path: Path) -> None:
    """Backpropagation against differences: Adam's first step goes by the sign of each derivative."""
    trainer = Trainer(speech, PLAN, tmp_path / "none.npz")
    x = np.random.default_rng(1).normal(0, 1, (16, CONTEXT * BANDS)).astype(np.float32)
    y = np.random.default_rng(2).uniform(0, 1, (16, len(ARTICULATORS))).astype(np.float32)

    def loss(weights: list[Array]) -> float:
        m1, o1, m2, o2, m3, o3 = (weight.astype(np.float64) for weight in weights)
        score = np.maximum(np.maximum(x @ m1 + o1, 0) @ m2 + o2, 0) @ m3 + o3
        return float(((np.logaddexp(0, score) - y * score) * WEIGHT).sum() / len(x))

    before = [weight.copy() for weight in trainer.weights]
    assert trainer._step(x, y, 1e-6, 1, np.random.default_rng(3)) == pytest.approx(loss(before), rel=1e-4)
    for index, weight in enumerate(before):
        moved = trainer.weights[index] - weight
        for place in [(0,) * weight.ndim, tuple(size // 2 for size in weight.shape)]:
            higher = [one.astype(np.float64) for one in before]
            higher[index][place] += 1e-4
            slope = (loss(higher) - loss(before)) / 1e-4
            if abs(slope) > 1e-4:
                assert np.sign(moved[place]) == -np.sign(slope)


def test_the_network_needs_no_normalised_input(speech: Corpus, tmp_path: Path) -> None:
    trainer = Trainer(speech, PLAN, tmp_path / "none.npz")
    m1, o1, m2, o2, m3, o3 = trainer.weights
    x = (speech.features[:CONTEXT].reshape(1, -1) - trainer.mean) * trainer.scale
    score = np.maximum(np.maximum(x @ m1 + o1, 0) @ m2 + o2, 0) @ m3 + o3
    expected = np.maximum(1 / (1 + np.exp(-score)) - REST, 0) / (1 - REST)
    assert np.allclose(shown(trainer, speech, tmp_path)[0], expected, atol=5e-3)
