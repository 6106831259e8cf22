"""When a viewer shows what."""

from __future__ import annotations

import pytest

from voxloop.bench.face_viewer import Viewer


def viewer() -> Viewer:
    made = Viewer()
    made.take({"type": "animation.header", "names": ["JawOpen", "BrowInnerUp"]}, 0.0)
    return made


def clock(t_ms: float, running: bool = True) -> dict[str, object]:
    return {"type": "animation.clock", "turn": 1, "t_ms": t_ms, "running": running}


def frame(t_ms: float, in_ms: float) -> dict[str, object]:
    return {"type": "animation", "turn": 1, "t_ms": t_ms, "in_ms": in_ms, "weights": [0, 0]}


def shown(made: Viewer) -> list[tuple[float, float]]:
    return [(round(one.at_s, 3), one.t_ms) for one in made.shown]


def test_a_frame_that_comes_early_waits_for_its_sound() -> None:
    made = viewer()
    made.take(clock(0), 10.0)
    made.take(frame(100, 100), 10.0)
    assert not made.shown
    made.take({"type": "animation.rest", "weights": [0, 0]}, 10.5)
    assert shown(made) == [(10.1, 100)]


def test_the_message_with_the_least_delay_sets_the_clock() -> None:
    made = viewer()
    made.take(clock(0), 10.04)  # 40 ms on the way
    made.take(frame(100, 60), 10.05)  # 10 ms
    made.take(frame(133, 60), 10.12)  # 47 ms
    made.take({"type": "animation.rest", "weights": [0, 0]}, 10.5)
    assert shown(made) == [(10.11, 100), (10.143, 133)]


def test_what_comes_too_late_is_not_shown() -> None:
    made = viewer()
    made.take(clock(200), 10.0)
    made.take(frame(180, -20), 10.0)
    made.take(frame(100, -100), 10.0)
    assert (shown(made), made.late) == ([(10.0, 180)], 1)


def test_a_sound_that_stands_still_keeps_its_frames() -> None:
    made = viewer()
    made.take(clock(0), 10.0)
    made.take(frame(100, 100), 10.0)
    made.take(clock(50, running=False), 10.05)
    made.take(clock(50), 12.0)
    made.take({"type": "animation.rest", "weights": [0, 0]}, 13.0)
    assert shown(made) == [(pytest.approx(12.05), 100)]


def test_an_end_drops_what_waits_and_the_mouth_shuts() -> None:
    made = viewer()
    made.take(clock(0), 10.0)
    made.take(frame(100, 100), 10.0)
    made.take({"type": "animation.end", "turn": 1}, 10.01)
    made.take({"type": "animation.rest", "weights": [0.4, 0.9]}, 10.02)
    made.take({"type": "animation.rest", "weights": [0.0, 0.8]}, 10.13)
    made.take({"type": "animation.rest", "weights": [0.0, 0.0]}, 10.5)
    assert not made.shown
    assert made.shut == {1: 10.13}
