"""Training: three layers, Adam, numpy. Goes on from its checkpoint, and with the same result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from embedded.face.blendshapes import ARTICULATORS, Array
from embedded.face.features import BANDS
from embedded.face.network import CONTEXT, HISTORY
from training.face.corpus import Corpus

#                         jaw close round spread fv sibilant tongue
WEIGHT = np.array([1.0, 2.0, 1.0, 0.7, 1.0, 1.0, 0.5], np.float32)
"""How much an articulator counts."""
FORGET, FORGET_SQUARE, TINY = 0.9, 0.999, 1e-8
_AROUND = np.arange(CONTEXT) - HISTORY


@dataclass(frozen=True)
class Plan:
    hidden: tuple[int, int] = (160, 64)
    epochs: int = 12
    rows: int = 512
    rate: float = 3e-3
    """Falls to 0 as a cosine."""
    decay: float = 1e-5
    noise: float = 0.15
    """Added to the normalised input, in standard deviations."""
    drop: float = 0.2
    """Of the hidden units in each step, so that none of them learns a voice by heart."""
    seed: int = 0


class Trainer:
    """`weights` are three matrices (inputs, outputs), each followed by its offsets."""

    def __init__(self, corpus: Corpus, plan: Plan, checkpoint: Path) -> None:
        self.corpus, self.plan, self.checkpoint = corpus, plan, checkpoint
        self.epoch = 0
        seen = corpus.features[corpus.judged].astype(np.float32)
        self.mean = np.tile(seen.mean(axis=0), CONTEXT)
        self.scale = np.tile(1 / (seen.std(axis=0) + 0.1), CONTEXT)
        random = np.random.default_rng(plan.seed)
        sizes = (CONTEXT * BANDS, *plan.hidden, len(ARTICULATORS))
        self.weights = list[Array]()
        for inputs, outputs in pairwise(sizes):
            self.weights.append(random.normal(0, np.sqrt(2 / inputs), (inputs, outputs)).astype(np.float32))
            self.weights.append(np.zeros(outputs, np.float32))
        self._first = [np.zeros_like(weight) for weight in self.weights]
        self._second = [np.zeros_like(weight) for weight in self.weights]
        self._resume()

    def train(self) -> None:
        steps = len(self.corpus.judged) // self.plan.rows
        while self.epoch < self.plan.epochs:
            random = np.random.default_rng((self.plan.seed, self.epoch))
            losses = []
            for number, (x, y) in enumerate(self._batches(random)):
                done = self.epoch * steps + number
                rate = self.plan.rate * 0.5 * (1 + np.cos(np.pi * done / (steps * self.plan.epochs)))
                losses.append(self._step(x, y, float(rate), done + 1, random))
            self.epoch += 1
            self._save()
            print(f"epoch {self.epoch} of {self.plan.epochs}: loss {np.mean(losses):.4f}", flush=True)

    def network(self) -> list[Array]:
        """Its weights for what is heard as it is heard: the normalisation is part of the first matrix."""
        first = self.weights[0] * self.scale[:, None]
        return [first, self.weights[1] - self.mean @ first, *self.weights[2:]]

    def _batches(self, random: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        order = random.permutation(self.corpus.judged)
        for at in range(0, len(order) - self.plan.rows + 1, self.plan.rows):
            rows = order[at : at + self.plan.rows]
            x = self.corpus.features[rows[:, None] + _AROUND].reshape(len(rows), -1).astype(np.float32)
            x = (x - self.mean) * self.scale
            x += random.standard_normal(x.shape, np.float32) * np.float32(self.plan.noise)
            yield x, self.corpus.targets[rows].astype(np.float32)

    def _step(self, x: Array, y: Array, rate: float, number: int, random: np.random.Generator) -> float:
        """The cross-entropy before it."""
        matrix1, offset1, matrix2, offset2, matrix3, offset3 = self.weights
        one = np.maximum(x @ matrix1 + offset1, 0)
        kept1 = self._kept(one, random)
        one *= kept1
        two = np.maximum(one @ matrix2 + offset2, 0)
        kept2 = self._kept(two, random)
        two *= kept2
        score = two @ matrix3 + offset3
        shown = 1 / (1 + np.exp(-score))
        loss = float(((np.logaddexp(0, score) - y * score) * WEIGHT).sum() / len(x))
        back3 = (shown - y) * WEIGHT / np.float32(len(x))
        back2 = (back3 @ matrix3.T) * (two > 0) * kept2
        back1 = (back2 @ matrix2.T) * (one > 0) * kept1
        self._adam(
            [x.T @ back1, back1.sum(0), one.T @ back2, back2.sum(0), two.T @ back3, back3.sum(0)],
            rate,
            number,
        )
        return loss

    def _kept(self, units: Array, random: np.random.Generator) -> Array:
        kept = random.random(units.shape, np.float32) >= self.plan.drop
        return kept * np.float32(1 / (1 - self.plan.drop))

    def _adam(self, gradients: Sequence[Array], rate: float, number: int) -> None:
        for index, gradient in enumerate(gradients):
            self._first[index] += (1 - FORGET) * (gradient - self._first[index])
            self._second[index] += (1 - FORGET_SQUARE) * (np.square(gradient) - self._second[index])
            mean = self._first[index] / (1 - FORGET**number)
            square = self._second[index] / (1 - FORGET_SQUARE**number)
            step = mean / (np.sqrt(square) + TINY) + self.plan.decay * self.weights[index]
            self.weights[index] -= rate * step

    def _save(self) -> None:
        half_written = self.checkpoint.with_suffix(".part.npz")
        arrays = [*self.weights, *self._first, *self._second]
        np.savez(half_written, *arrays, epoch=self.epoch, plan=str(asdict(self.plan)))
        half_written.replace(self.checkpoint)

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        with np.load(self.checkpoint) as kept:
            if str(kept["plan"]) != str(asdict(self.plan)):
                raise SystemExit(
                    f"{self.checkpoint} belongs to another plan: remove it, or train with that plan."
                )
            self.epoch = int(kept["epoch"])
            arrays = [kept[f"arr_{number}"] for number in range(3 * len(self.weights))]
        count = len(self.weights)
        self.weights, self._first, self._second = (
            arrays[at : at + count] for at in range(0, len(arrays), count)
        )
