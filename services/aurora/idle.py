"""A face that says nothing still lives: it blinks, and its eyes do not stand still."""

from __future__ import annotations

import math
from collections.abc import Mapping

BLINK_EVERY_S, BLINK_S = 3.9, 0.22
LOOK_EVERY_S, LOOK_S = 1.7, 0.06
"""How long the eyes rest on one spot, and how long they take to the next."""
LOOK_SIDE, LOOK_HEIGHT = 0.22, 0.14
"""The widest look, as a share of what the eyes can do."""
_GOLDEN = 0.618034
"""Spreads blinks and looks unevenly, without a random generator: the same time gives the same face."""


def idle(at_s: float) -> Mapping[str, float]:
    """ARKit's names, 0 to 1, at a time since the face came to rest; those not named are 0."""
    side, height = _gaze(at_s)
    lid = _lid(at_s)
    shapes = {"EyeBlinkLeft": lid, "EyeBlinkRight": lid}
    inner, outer = ("Right", "Left") if side > 0 else ("Left", "Right")  # positive is the face's own left
    shapes |= {f"EyeLookOut{outer}": abs(side), f"EyeLookIn{inner}": abs(side)}
    vertical = "EyeLookUp" if height > 0 else "EyeLookDown"
    return shapes | {f"{vertical}Left": abs(height), f"{vertical}Right": abs(height)}


def _lid(at_s: float) -> float:
    number = math.floor(at_s / BLINK_EVERY_S)
    since = at_s - number * BLINK_EVERY_S - number * _GOLDEN % 1 * (BLINK_EVERY_S - BLINK_S)
    since -= BLINK_S if number == 0 else 0.0  # not in the moment in which a reply ends
    return math.sin(math.pi * since / BLINK_S) ** 2 if 0 < since < BLINK_S else 0.0


def _gaze(at_s: float) -> tuple[float, float]:
    """To the side and upwards, -1 to 1: a jump to each next spot, as eyes do, and then rest."""
    number = math.floor(at_s / LOOK_EVERY_S)
    moved = min(1.0, (at_s - number * LOOK_EVERY_S) / LOOK_S)
    (from_side, from_height), (side, height) = _spot(number - 1), _spot(number)
    return from_side + moved * (side - from_side), from_height + moved * (height - from_height)


def _spot(number: int) -> tuple[float, float]:
    """Every third look, and the first, meets the viewer."""
    if number <= 0 or number % 3 == 0:
        return 0.0, 0.0
    return LOOK_SIDE * (2 * (number * _GOLDEN % 1) - 1), LOOK_HEIGHT * (2 * (number * _GOLDEN**2 % 1) - 1)
