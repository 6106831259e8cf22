"""The 52 ARKit blendshapes as Audio2Face names and orders them, and how a mouth is made of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Times = NDArray[np.float64]
"""Seconds from the start of the stream."""

NAMES: tuple[str, ...] = (
    "EyeBlinkLeft", "EyeLookDownLeft", "EyeLookInLeft", "EyeLookOutLeft", "EyeLookUpLeft", "EyeSquintLeft",
    "EyeWideLeft", "EyeBlinkRight", "EyeLookDownRight", "EyeLookInRight", "EyeLookOutRight", "EyeLookUpRight",
    "EyeSquintRight", "EyeWideRight", "JawForward", "JawLeft", "JawRight", "JawOpen", "MouthClose",
    "MouthFunnel", "MouthPucker", "MouthLeft", "MouthRight", "MouthSmileLeft", "MouthSmileRight",
    "MouthFrownLeft", "MouthFrownRight", "MouthDimpleLeft", "MouthDimpleRight", "MouthStretchLeft",
    "MouthStretchRight", "MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper",
    "MouthPressLeft", "MouthPressRight", "MouthLowerDownLeft", "MouthLowerDownRight", "MouthUpperUpLeft",
    "MouthUpperUpRight", "BrowDownLeft", "BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft",
    "BrowOuterUpRight", "CheekPuff", "CheekSquintLeft", "CheekSquintRight", "NoseSneerLeft",
    "NoseSneerRight", "TongueOut",
)  # fmt: skip
INDEX: Mapping[str, int] = {name: index for index, name in enumerate(NAMES)}

ARTICULATORS = ("jaw", "close", "round", "spread", "fv", "sibilant", "tongue")
"""What a speaking mouth does, 0 to 1 each: opens, closes its lips, rounds or spreads them, puts the lower
lip to the teeth, hisses, lifts the tongue."""
JAW, CLOSE, ROUND, SPREAD, FV, SIBILANT, TONGUE = range(len(ARTICULATORS))


def pose(**shapes: float) -> Array:
    """Weights (52,) from names; one that exists only as a pair sets both of its sides."""
    weights = np.zeros(len(NAMES), np.float32)
    for name, weight in shapes.items():
        for side in ("",) if name in INDEX else ("Left", "Right"):
            weights[INDEX[name + side]] = weight
    return weights


SPEECH: Array = np.stack(
    [
        pose(JawOpen=0.75, MouthLowerDown=0.25, MouthUpperUp=0.12, MouthStretch=0.05),
        pose(MouthPress=0.55, MouthRollLower=0.45, MouthRollUpper=0.35, MouthClose=0.10),
        pose(MouthPucker=0.65, MouthFunnel=0.45, JawForward=0.05),
        pose(MouthSmile=0.28, MouthStretch=0.22, MouthDimple=0.12),
        pose(MouthRollLower=0.55, MouthUpperUp=0.30, JawOpen=0.05),
        pose(MouthLowerDown=0.25, MouthUpperUp=0.18, MouthFunnel=0.08, JawOpen=0.03),
        pose(JawOpen=0.10, TongueOut=0.04),
    ]
)
"""(7, 52): what one full articulator adds to each blendshape."""


def speak(articulators: Array) -> Array:
    """Articulators (n, 7) to weights (n, 52), not yet clamped. Closed lips win over an open jaw."""
    shaped = articulators.copy()
    shaped[:, JAW] *= 1.0 - 0.9 * np.minimum(1.0, 1.1 * shaped[:, CLOSE])
    weights: Array = shaped @ SPEECH
    return weights
