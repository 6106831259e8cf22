"""What the face shows besides speech: emotions that the caller names, and blinking."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from embedded.face.blendshapes import Array, Times, pose

POSES: Mapping[str, Array] = {
    "amazement": pose(EyeWide=0.5, BrowInnerUp=0.5, BrowOuterUp=0.5, JawOpen=0.12),
    "anger": pose(BrowDown=0.8, EyeSquint=0.3, NoseSneer=0.35, MouthPress=0.2),
    "cheekiness": pose(MouthSmileLeft=0.45, MouthSmileRight=0.15, BrowOuterUpLeft=0.4, EyeSquint=0.15),
    "disgust": pose(NoseSneer=0.7, MouthUpperUp=0.25, BrowDown=0.4, MouthFrown=0.25),
    "fear": pose(EyeWide=0.6, BrowInnerUp=0.7, MouthStretch=0.3),
    "grief": pose(BrowInnerUp=0.8, MouthFrown=0.5, EyeSquint=0.3, MouthShrugLower=0.3),
    "joy": pose(MouthSmile=0.6, CheekSquint=0.45, EyeSquint=0.2, MouthDimple=0.15),
    "outofbreath": pose(JawOpen=0.15, NoseSneer=0.15, BrowInnerUp=0.2),
    "pain": pose(EyeSquint=0.6, BrowDown=0.5, MouthStretch=0.35, NoseSneer=0.3),
    "sadness": pose(MouthFrown=0.5, BrowInnerUp=0.6, EyeBlink=0.12, MouthShrugLower=0.15),
}
"""Audio2Face's ten emotions, each at its full strength."""

_ORDER = {name: index for index, name in enumerate(POSES)}
_POSES: Array = np.stack(list(POSES.values()))

TRANSITION_S = 0.5
STRENGTH = 0.6
"""Used where the caller's header does not say otherwise."""


class Emotions:
    """Emotions with the time (s) from which each set holds; the face drifts towards the newest of them."""

    def __init__(
        self, beginning: Mapping[str, float], transition_s: float = TRANSITION_S, strength: float = STRENGTH
    ) -> None:
        self._target: Array = _values(beginning)
        self._current: Array = self._target.copy()
        self._time_constant_s = transition_s / 3  # 95 % of the way within the transition
        self._strength = strength
        self._pending: list[tuple[float, Array]] = []
        self.unknown: set[str] = {name for name in beginning if name not in _ORDER}

    def add(self, time_s: float, values: Mapping[str, float]) -> None:
        self.unknown.update(name for name in values if name not in _ORDER)
        self._pending.append((time_s, _values(values)))
        self._pending.sort(key=lambda change: change[0])

    def weights(self, times: Times, frame_s: float) -> Array:
        """What the emotions add to frames at `times` (n,) in s: (n, 52). Times rise from call to call."""
        step = 1.0 if self._time_constant_s <= 0 else 1 - math.exp(-frame_s / self._time_constant_s)
        shown = np.empty((len(times), len(POSES)), np.float32)
        for row, time_s in enumerate(times.tolist()):
            while self._pending and self._pending[0][0] <= time_s:
                self._target = self._pending.pop(0)[1]
            np.add(self._current, step * (self._target - self._current), out=self._current)
            shown[row] = self._current
        return (shown @ (self._strength * _POSES)).astype(np.float32, copy=False)


def _values(emotions: Mapping[str, float]) -> Array:
    values = np.zeros(len(POSES), np.float32)
    for name, value in emotions.items():
        if name in _ORDER:
            values[_ORDER[name]] = min(1.0, max(0.0, value))
    return values


BLINK_CLOSES_S, BLINK_OPENS_S = 0.08, 0.16
_EVERY_S = 3.7
_BLINK: Array = pose(EyeBlink=1.0)


def blink(times: Times) -> Array:
    """Eyelids at `times` (n,) in s: (n, 52). A function of time alone: the same sound gives the same face."""
    lids = np.array([_lid(time_s) for time_s in times.tolist()], np.float32)
    weights: Array = lids[:, None] * _BLINK
    return weights


def _lid(time_s: float) -> float:
    number = time_s // _EVERY_S
    # The golden angle spreads the blinks unevenly without a random generator's state.
    since = time_s - number * _EVERY_S - 0.4 - (number * 0.618034 % 1.0) * (_EVERY_S - 1.0)
    return max(0.0, min(1.0, since / BLINK_CLOSES_S, 1 - (since - BLINK_CLOSES_S) / BLINK_OPENS_S))
