"""The drawing is true to the times, whatever came and whatever it is drawn on."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from voxloop.turn_marks import Outcome, TurnMarks
from voxloop.waterfall import STAGES, Waterfall, bar_cells, duration, pictures

TIMES = {
    "speech_end_to_final": 400.0,
    "llm_first_token": 60.0,
    "first_clause": 20.0,
    "tts_first_audio": 15.0,
    "first_audio_sent": 5.0,
    "reply_audio": 1000.0,
}


def whole() -> TurnMarks:
    turn = TurnMarks(1, stages=dict(TIMES))
    turn.audio(102, 1000)
    turn.frame(112, 0)
    turn.frame(900, 966)
    turn.end(1000, Outcome.DONE)
    return turn


def drawn(turn: TurnMarks, width: int = 80, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    Console(file=stream, width=width).print(Waterfall(turn))
    stream.seek(0)
    return stream.read()


def test_each_stage_begins_where_the_one_before_it_ended() -> None:
    wait, reply = pictures(whole())
    assert [row.spans for row in wait.rows] == [
        [(0, 400)],
        [(400, 460)],
        [(460, 480)],
        [(480, 495)],
        [(495, 500)],
        [(500, 502)],
    ]
    assert wait.length_ms == 502
    assert "502 ms" in wait.title
    assert [(row.name, row.spans) for row in reply.rows] == [
        ("sound", [(0, 1000)]),
        ("face", [(10, pytest.approx(999.3, abs=0.1))]),
        ("first frame late by", [(0, 10)]),
    ]


def test_an_interrupted_reply_shows_where_it_was_hushed_and_ended() -> None:
    turn = whole()
    turn.audio(500, 4000)
    turn.pause(302)
    turn.resume(402)
    turn.pause(802)
    turn.heard_ms = 600
    turn.end(902, Outcome.INTERRUPTED)
    rows = {row.name: row for row in pictures(turn)[1].rows}
    assert rows["sound"].spans == [(0, 200), (300, 700)]
    assert rows["sound"].figure == "600 ms"
    assert rows["hushed 2x"].spans == [(200, 300), (700, 800)]
    assert rows["interrupted"].spans == [(800, 800)]


def test_what_never_came_has_no_bar() -> None:
    turn = TurnMarks(2, stages={"speech_end_to_final": 400.0, "llm_first_token": None, "of_tomorrow": 7.0})
    turn.end(50, Outcome.INTERRUPTED)
    [wait] = pictures(turn)
    shown = {row.name: (row.spans, row.figure) for row in wait.rows}
    assert shown["first token"] == ([], "-")
    assert shown["of_tomorrow"] == ([(400, 407)], "7.0 ms")
    assert shown["first sound here"] == ([], "-")
    assert shown["interrupted"] == ([(407, 450)], "43 ms")
    assert wait.title == "turn 2: interrupted, without a sound"


def test_a_turn_of_which_nothing_is_known_is_drawn() -> None:
    text = drawn(TurnMarks(1))
    assert all(name in text for name in STAGES.values())
    assert "█" not in text


def test_bars_are_in_proportion() -> None:
    assert bar_cells([(0, 50)], 100, 20) == "█" * 10 + " " * 10
    assert bar_cells([(50, 75)], 100, 20) == " " * 10 + "█" * 5 + " " * 5
    assert bar_cells([(0, 25), (75, 100)], 100, 8) == "██    ██"
    assert bar_cells([(100, 100)], 100, 8) == "       ▏"


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1e-3, 1e9), st.integers(1, 300))
def test_a_bar_is_never_wider_than_its_place_nor_wrong_by_more_than_a_cell(
    a: float, b: float, length: float, width: int
) -> None:
    begin, end = sorted((a * length, b * length))
    cells = bar_cells([(begin, end)], length, width)
    assert len(cells) == width
    assert cells.strip()
    assert abs(cells.count("█") - (end - begin) / length * width) <= 1.001


@pytest.mark.parametrize("width", [1, 5, 12, 20, 30, 44, 80, 500])
def test_it_fits_any_width_and_loses_no_figure(width: int) -> None:
    text = drawn(whole(), width)
    assert all(len(line) <= width for line in text.splitlines())
    if width >= 20:
        assert "400 ms" in text
    assert ("█" in text) == (width >= 44)


def test_no_terminal_means_no_colour_and_no_escape() -> None:
    assert "\x1b" not in drawn(whole())


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for no_color, expected in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", no_color)
        stream = io.StringIO()
        Console(file=stream, width=80, force_terminal=True).print(Waterfall(whole()))
        assert ("\x1b[34m" in stream.getvalue()) == expected


def test_it_can_be_drawn_in_ascii() -> None:
    assert "#####" in drawn(whole(), encoding="ascii")


def test_a_very_long_reply_keeps_to_its_place() -> None:
    turn = whole()
    turn.audio(500, 3.6e6)
    for minute in range(50):
        turn.pause(minute * 60_000 + 30_000)
        turn.resume(minute * 60_000 + 31_000)
    text = drawn(turn)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "hushed 50x" in text
    assert "3601.0 s" in text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0.0 ms"), (9.94, "9.9 ms"), (9.96, "10 ms"), (1234.4, "1234 ms"), (300_000, "300.0 s")],
)
def test_durations_have_the_decimals_that_say_something(ms: float, text: str) -> None:
    assert duration(ms) == text
