"""The face's benchmark with little to do, and how its figures come about."""

from __future__ import annotations

import pytest

from voxloop.bench.face import Plan, drift_ms, in_real_time, run, session_figures
from voxloop.bench.face_session import Session, Sound
from voxloop.bench.face_streams import Streamed
from voxloop.bench.face_viewer import Shown
from voxloop.bench.face_voices import has_flite


@pytest.mark.parametrize(
    ("lateness_ms", "fault", "good"),
    [
        ([80.0] * 30, "", True),
        ([80.0] * 29 + [400.0], "", True),
        ([80.0] * 27 + [400.0] * 3, "", False),
        ([80.0] * 29, "", False),
        ([80.0] * 30, "it broke", False),
        ([], "", False),
    ],
)
def test_real_time_is_every_frame_and_nearly_all_in_time(
    lateness_ms: list[float], fault: str, good: bool
) -> None:
    assert in_real_time(Streamed(30, lateness_ms, fault)) is good


def test_drift_is_the_end_less_the_beginning() -> None:
    assert drift_ms([float(value) for value in range(100)]) == 90
    assert drift_ms([1.0]) is None


def test_a_session_knows_what_was_seen_of_what_was_heard() -> None:
    session = Session()
    for turn in (1, 2):
        session.sounds[turn] = sound = Sound()
        sound.clock.sent(100)
        sound.note()
        sound.clock.report(100)
        sound.clock.pause()
        sound.note()
    began_s = session.sounds[1]._at[0]
    session.viewer.shown = [Shown(began_s + 0.0005 + t_ms / 1e3, 1, t_ms) for t_ms in (0.0, 33.0)]
    session.cut[1] = began_s + 10
    session.viewer.shut[1] = began_s + 10.1
    figures = session_figures(session)
    assert figures["shown_share"] == pytest.approx(2 / 6, abs=1e-3)
    assert figures["still_turns"] == 1
    assert figures["mouth_shut_ms_p95"] == pytest.approx(100)


def test_the_face_runs_and_is_measured() -> None:
    report = run(Plan(session_s=4, stream_s=1, crowd=(2, 1), sentences=2, long_s=20))
    assert report.figures["interruptions"] == 1
    assert report.figures["still_turns"] == 0
    assert report.figures["shown_share"]
    assert report.figures["closure_shift_ms"] is not None
    assert [row["whole"] for row in report.rows if "streams" in row] == [1, 2]
    voices = [row["voice"] for row in report.rows if "voice" in row]
    assert voices == ["en-us+m4", *(["flite slt"] if has_flite() else [])]
    assert (report.figures["jaw_r_flite"] is not None) == has_flite()
    assert (report.figures["long_frames_missing"], report.figures["long_lag_ms"]) == (0, 0)
