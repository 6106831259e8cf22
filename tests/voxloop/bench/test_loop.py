"""The loop's benchmark with little to do, and the marks that it goes by."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voxloop.bench.loop import Plan, figures, row, run
from voxloop.bench.loop_client import Listener, Turn
from voxloop.bench.loop_marks import SIZE, Mark, MarkReader

marks = st.builds(
    Mark,
    st.booleans(),
    st.integers(0, 32767),
    st.integers(0, 32767),
    st.integers(0, 3000).map(lambda n: 10 * n),
)


@given(marks, st.binary(max_size=200).map(lambda noise: noise[: len(noise) // 2 * 2]), st.integers(1, 40))
def test_a_mark_is_found_however_the_sound_is_cut(mark: Mark, noise: bytes, size: int) -> None:
    sound = bytes(50) + mark.encode() + noise
    reader, found = MarkReader(), list[tuple[Mark, int]]()
    for start in range(0, len(sound), size):
        piece = sound[start : start + size]
        found += [(one, start + len(piece) - after) for one, after in reader.feed(piece)]
    assert (mark, 50 + SIZE) in found


def test_a_turn_is_charged_with_what_its_engines_did_not_take() -> None:
    turn = Turn(session=1, number=1, over_a_reply=True, began=8.0, ended=10.0, first_audio=10.25, paused=8.1)
    moments = {"end_heard": 10.01, "final": 10.11, "asked": 10.12, "answered": 10.15, "to_speak": 10.16}
    events = [(what, 1, 1, at) for what, at in (moments | {"spoken": 10.18}).items()]
    measured = row(1, [Listener(1, b"", turns=[turn])], events, cpu_s=1.0, memory_mb=100.0)
    assert measured["v2v_ms_p50"] == 250
    assert measured["added_ms_p50"] == 100  # of 250, recognition took 100, the model 30, synthesis 20
    assert measured["hush_ms_p50"] == 100


def test_sessions_stand_the_load_until_p95_doubles() -> None:
    common = {"failed": 0, "hush_ms_p50": 1, "interrupted_after_interim_ms_p50": 1, "added_ms_p50": 1}
    common["cpu_s_per_session_minute"] = 1
    rows = [
        common | {"sessions": sessions, "added_ms_p95": p95, "v2v_ms_p95": 100 + p95, "memory_mb": memory}
        for sessions, p95, memory in ((1, 4, 100), (8, 5, 101), (40, 9.9, 108), (56, 11, 111))
    ]
    assert figures(rows)["sessions_per_core"] == 56
    assert figures(rows)["sessions_per_core_added"] == 40
    assert figures([*rows, rows[-1] | {"sessions": 64, "v2v_ms_p95": 210}])["sessions_per_core"] == 56
    assert figures(rows)["mb_per_session"] == 0.2


def test_the_loop_runs_and_is_measured() -> None:
    report = run(Plan(rounds=((2, 6),), early=(1, 5)))
    assert report.figures["failed"] == 0
    assert report.rows[0]["turns"] >= 2
    assert report.rows[0]["added_ms_p50"] < report.rows[0]["v2v_ms_p50"]
