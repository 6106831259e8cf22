"""A turn of more than one of Audio2Face's streams, and that its measure finds what it is for."""

from __future__ import annotations

import math
from pathlib import Path

import psutil
import pytest

from tests.fixtures import face
from tests.fixtures.face import aurora_server, face_server
from voxloop.bench.face_long import LongTurn, long_turn

SPEECH = face.vowel(1.5) + face.silence(0.7) + face.vowel(0.5) + face.silence(0.5)


async def test_a_turn_over_many_streams_is_in_step_at_its_end(tmp_path: Path) -> None:
    """As one of hours, whose streams are longer."""
    with (
        face_server(tmp_path, max_clip_s="12") as engine,
        aurora_server(tmp_path, engine.target, rotate_s="5") as aurora,
    ):
        turn = await long_turn(aurora.target, (psutil.Process(engine.process.pid),), 120, SPEECH)
        assert aurora.metrics.value("voxloop_aurora_rotations_total") >= 14
    assert turn.frames == turn.expected == 38 * 96
    assert turn.off_grid_ms < 0.1
    assert turn.lag_ms() == 0
    assert len(turn.megabytes) == 20


def seen(*lags: int) -> LongTurn:
    """Passes of one speech, each so many frames later than the first."""
    turn = LongTurn(loop_frames=120, loops=len(lags))
    for lag in lags:
        for frame in range(120):
            turn.take(turn.frames * 1000 / 30, math.sin((frame - lag) / 7))
    return turn


@pytest.mark.parametrize("lag", [-2, 0, 3])
def test_a_face_that_falls_behind_is_found(lag: int) -> None:
    assert seen(0, 1, lag).lag_ms() == pytest.approx(lag * 1000 / 30)


def test_frames_that_are_missing_make_it_no_whole_pass() -> None:
    turn = LongTurn(loop_frames=120, loops=2)
    for frame in range(150):
        turn.take(frame * 1000 / 30, 0.0)
    assert turn.lag_ms() is None


def test_memory_that_grows_behind_the_beginning_is_found() -> None:
    turn = LongTurn(1, 1, megabytes=[10, 40, 50, 50, 50, 50, 50, 50, 52, 53])
    assert turn.growth_mb() == 3
