"""Where the sound is, for one who was told little or much of it."""

from __future__ import annotations

import pytest

from services.aurora.clock import SoundClock


class Seconds:
    def __init__(self) -> None:
        self.value = 100.0

    def __call__(self) -> float:
        return self.value


def test_it_runs_from_the_first_sound_on() -> None:
    seconds = Seconds()
    clock = SoundClock(seconds)
    seconds.value += 5
    assert (clock.runs, clock.heard_ms()) == (False, 0)
    assert clock.begin()
    assert not clock.begin()
    seconds.value += 0.25
    assert clock.heard_ms() == pytest.approx(250)


def test_who_hears_it_knows_better() -> None:
    seconds = Seconds()
    clock = SoundClock(seconds)
    clock.begin()
    seconds.value += 1
    clock.follow(400, paused=False)
    seconds.value += 0.1
    assert clock.heard_ms() == pytest.approx(500)


def test_a_pause_stops_it_and_more_sound_does_not_start_it() -> None:
    seconds = Seconds()
    clock = SoundClock(seconds)
    clock.follow(300, paused=True)
    assert not clock.begin()
    seconds.value += 9
    assert (clock.runs, clock.heard_ms()) == (False, 300)
    clock.follow(300, paused=False)
    seconds.value += 0.1
    assert clock.heard_ms() == pytest.approx(400)
