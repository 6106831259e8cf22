"""Sound in, poses out: 16 kHz samples to ARKit-52 weights at 30 frames a second, streaming.

    samples → log-mel at 100 Hz → articulators, by a network → at 30 Hz → blendshapes
     phones and words, where a caller tells them ↗

A frame leaves as soon as the sound reaches about 60 ms past it (LOOKAHEAD and half a window). Frames do
not depend on how the sound was cut into pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedded.face.blendshapes import ARTICULATORS, CLOSE, NAMES, Array, Times, speak
from embedded.face.expression import Emotions, blink
from embedded.face.features import BANDS, FLOOR, HOP, HOPS_PER_S, RATE, WINDOW, Level, LogMel
from embedded.face.network import HISTORY, LOOKAHEAD, Network, network
from embedded.face.timed import TimedSpeech

FPS = 30
LIPS_HOPS = 3
"""Hops over which what is heard of closed lips is averaged: what flickers is no closure."""
EASE_S = 0.1
"""Within this time of the last frame the mouth returns to neutral, as far as those frames are still here."""

_MEAN: Array = np.full(LIPS_HOPS, 1 / LIPS_HOPS, np.float32)


@dataclass(frozen=True)
class Tuning:
    """What the caller does to the result: (52,) each, weight · multiplier + offset."""

    multipliers: Array
    offsets: Array
    clamp: bool = True

    @classmethod
    def neutral(cls) -> Tuning:
        return cls(np.ones(len(NAMES), np.float32), np.zeros(len(NAMES), np.float32))

    def apply(self, weights: Array) -> Array:
        tuned = weights * self.multipliers + self.offsets
        return np.clip(tuned, 0.0, 1.0) if self.clamp else tuned


@dataclass(frozen=True)
class Frames:
    """Consecutive frames; `weights` is (n, 52) and the first of them is frame number `start`."""

    start: int
    weights: Array


class FaceEngine:
    def __init__(self, emotions: Emotions, tuning: Tuning, heard_by: Network | None = None) -> None:
        self.emotions = emotions
        self.timed = TimedSpeech()
        self._tuning = tuning
        self._mel = LogMel()
        self._level = Level()
        self._network = heard_by or network()
        self._features: Array = np.full((HISTORY, BANDS), FLOOR, np.float32)
        self._closed: Array = np.zeros(LIPS_HOPS - 1, np.float32)
        self._track: Array = np.zeros((0, len(ARTICULATORS)), np.float32)
        self._track_start = 0  # hop number of the first row of _track
        self._next = 0  # number of the next frame

    def feed(self, samples: Array) -> Frames:
        """float32 at 16 kHz, -1 to 1. Costs some 2 ms for a second of sound: keep the pieces small."""
        self._listen(samples)
        newest_hop = self._track_start + len(self._track) - 1
        ready = (2 * newest_hop + 1) * FPS // (2 * HOPS_PER_S) + 1  # hop i lies at (i + 0.5) · 10 ms
        return self._take(max(self._next, ready))

    def finish(self, total: int) -> Frames:
        """The rest, up to `total` frames in all, with the mouth easing to neutral."""
        self._listen(np.zeros(WINDOW + (LOOKAHEAD + 2) * HOP + RATE // FPS, np.float32))
        return self._take(total, last=total - 1)

    def _listen(self, samples: Array) -> None:
        features = np.concatenate([self._features, self._level.feed(self._mel.feed(samples))])
        judged = len(features) - HISTORY - LOOKAHEAD
        if judged <= 0:
            self._features = features
            return
        self._features = features[judged:]
        moves = self._network.articulate(features)
        closed = np.concatenate([self._closed, moves[:, CLOSE]])
        self._closed = closed[len(moves) :]
        moves[:, CLOSE] = np.convolve(closed, _MEAN, "valid")
        moves = self.timed.lay_over(moves, self._track_start + len(self._track))
        self._track = np.concatenate([self._track, moves])

    def _take(self, until: int, last: int | None = None) -> Frames:
        """Frames from the next one to before `until`; `last` is the number of the last one of all."""
        numbers = np.arange(self._next, until)
        times = numbers / FPS
        articulators = self._at(times)
        if last is not None:
            articulators *= np.clip((last / FPS - times) / EASE_S, 0.0, 1.0)[:, None].astype(np.float32)
        weights = speak(articulators) + blink(times) + self.emotions.weights(times, 1 / FPS)
        frames = Frames(self._next, self._tuning.apply(weights))
        self._next = max(self._next, until)
        return frames

    def _at(self, times: Times) -> Array:
        """Articulators (n, 7) at `times` in s, between the two nearest hops. Drops what lies behind."""
        if not len(times):
            return np.zeros((0, len(ARTICULATORS)), np.float32)
        position = np.clip(times * HOPS_PER_S - 0.5 - self._track_start, 0, len(self._track) - 1)
        before = np.floor(position).astype(int)
        after = np.minimum(before + 1, len(self._track) - 1)
        share = (position - before)[:, None].astype(np.float32)
        articulators: Array = self._track[before] * (1 - share) + self._track[after] * share
        self._track = self._track[before[-1] :]
        self._track_start += int(before[-1])
        return articulators
