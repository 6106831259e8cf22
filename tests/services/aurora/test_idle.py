"""The face between its replies."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.aurora.idle import BLINK_EVERY_S, LOOK_EVERY_S, idle

times = st.floats(0, 86_400)


@given(times)
def test_weights_are_weights_and_the_mouth_is_left_alone(at_s: float) -> None:
    shapes = idle(at_s)
    assert all(0 <= weight <= 1 for weight in shapes.values())
    assert all(name.startswith("Eye") for name in shapes)


@given(times)
def test_both_eyes_look_the_same_way(at_s: float) -> None:
    shapes = idle(at_s)
    assert shapes.get("EyeLookOutLeft", 0) == shapes.get("EyeLookInRight", 0)
    assert shapes.get("EyeLookOutRight", 0) == shapes.get("EyeLookInLeft", 0)


@given(st.floats(0, 3600))
def test_nothing_jumps(at_s: float) -> None:
    before, after = idle(at_s), idle(at_s + 0.001)
    assert all(abs(before.get(name, 0) - after.get(name, 0)) < 0.05 for name in before.keys() | after.keys())


def test_it_blinks_once_in_each_period_and_looks_around() -> None:
    frames = [idle(step / 100) for step in range(int(20 * BLINK_EVERY_S * 100))]
    lids = [frame["EyeBlinkLeft"] > 0.5 for frame in frames]
    blinks = sum(now and not before for before, now in pairwise(lids))
    assert blinks == 20
    looks = {round(frame.get("EyeLookOutLeft", 0), 2) for frame in frames}
    assert len(looks) > 20 * BLINK_EVERY_S / LOOK_EVERY_S / 4


def test_it_begins_with_open_eyes_on_the_viewer() -> None:
    assert not any(idle(0.0).values())
