from __future__ import annotations

from rich.console import Console

from voxloop.bench.report import Report


def test_rows_of_two_kinds_are_two_tables() -> None:
    rows = [{"voice": "slt", "jaw_r": 0.8}, {"voice": "m4", "jaw_r": 0.9}, {"streams": 32, "whole": 32}]
    console = Console(width=80)
    with console.capture() as captured:
        Report("face", rows, {"jaw_r": 0.85}, ["a note"]).show(console)
    shown = captured.get()
    assert shown.count("bench face") == 2
    assert [shown.count(name) for name in ("voice", "streams", "slt", "0.85", "a note")] == [1] * 5
