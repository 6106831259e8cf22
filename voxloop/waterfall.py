"""A turn as two pictures: the wait for its first sound, and the reply. Here as rows, and in the terminal.

In the wait, each stage begins where the one before it ended; its axis begins with the server's end of speech.
The client's own marks are laid on it where `reply.started` came, so the way to the client counts as nothing.
The axis of the reply is time since its first sound came here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from voxloop.turn_marks import Outcome, Span, TurnMarks

FRAME_MS = 1000 / 30
REPLY_LENGTH = "reply_audio"
"""Told with the stages, and no part of the wait."""
STAGES = {
    "speech_end_to_final": "final transcript",
    "llm_first_token": "first token",
    "first_clause": "first clause",
    "tts_first_audio": "first synthesised sound",
    "first_audio_sent": "first sound sent",
}
"""What a spoken turn goes through; a stage that is not here is shown by its own name."""
CALLS = {"llm_call": "first call", "tools": "calls answered"}
"""Only of a turn in which the model called a function."""
MISSING = "-"

NARROWEST_BAR, WIDEST_BAR = 6, 60
_COLORS = {
    "speech_end_to_final": "blue",
    "llm_first_token": "magenta",
    "first_clause": "red",
    "llm_call": "cyan",
    "tools": "blue",
    "tts_first_audio": "yellow",
    "first_audio_sent": "green",
    "here": "cyan",
    "face": "magenta",
    "hushed": "yellow",
    "ended": "red",
}


@dataclass(frozen=True, slots=True)
class Row:
    """`spans` are in ms on the axis of its picture, none for what never came; `kind` is what has a colour."""

    kind: str
    name: str
    spans: Sequence[Span]
    figure: str


@dataclass(frozen=True, slots=True)
class Picture:
    title: str
    rows: Sequence[Row]

    @property
    def length_ms(self) -> float:
        """Where the last of its spans ends; never 0, so that everything may be divided by it."""
        return max((end for row in self.rows for _, end in row.spans), default=0.0) or 1.0


def duration(ms: float) -> str:
    """One decimal where it says something."""
    if ms < 9.95:
        return f"{ms:.1f} ms"
    return f"{ms:.0f} ms" if ms < 10_000 else f"{ms / 1e3:.1f} s"


def pictures(turn: TurnMarks) -> list[Picture]:
    """The wait and, where there was a sound of it, the reply."""
    return [_wait(turn), *([] if turn.first_audio is None else [_reply(turn, turn.first_audio)])]


def waited_ms(turn: TurnMarks) -> float:
    """From the end of speech to the first sound here, or to the turn's end before there was one."""
    return _wait(turn).length_ms


def _wait(turn: TurnMarks) -> Picture:
    rows, at = [], 0.0
    told = {name: ms for name, ms in turn.stages.items() if name != REPLY_LENGTH}
    for name in [*told, *(name for name in STAGES if name not in told)]:
        length = told.get(name)
        spans = [] if length is None else [(at, at := at + length)]
        rows.append(
            Row(
                name, (STAGES | CALLS).get(name, name), spans, MISSING if length is None else duration(length)
            )
        )
    started = told.get("speech_end_to_final") or 0.0
    if turn.first_audio is not None:
        arrived = max(at, started + turn.first_audio)
        rows.append(Row("here", "first sound here", [(at, arrived)], duration(arrived - at)))
        return Picture(
            f"turn {turn.number}: {duration(arrived)} from the end of speech to its first sound", rows
        )
    rows.append(Row("here", "first sound here", [], MISSING))
    if turn.ended is not None:
        ended = max(at, started + turn.ended)
        rows.append(Row("ended", turn.outcome, [(at, ended)], duration(ended - at)))
    return Picture(f"turn {turn.number}: {turn.outcome}, without a sound", rows)


def _reply(turn: TurnMarks, first: float) -> Picture:
    pauses = [(max(0.0, begin - first), end - first) for begin, end in turn.pauses if end > first]
    hushed_ms = sum(end - begin for begin, end in pauses if end > begin)
    end = turn.audio_ms + hushed_ms
    if turn.outcome is not Outcome.DONE and turn.ended is not None:
        end = min(end, turn.ended - first)
    pauses = [(begin, min(stop, end)) for begin, stop in pauses if begin < end]
    heard = turn.heard_ms if turn.outcome is Outcome.INTERRUPTED else turn.audio_ms
    rows = [Row("here", "sound", list(_between(pauses, end)), duration(heard))]
    if turn.first_frame is None:
        rows.append(Row("face", "face", [], MISSING))
    else:
        shown = max(0.0, turn.first_frame - first)
        face = (shown, max(shown, min(end, turn.face_ms + FRAME_MS + hushed_ms)))
        rows.append(Row("face", "face", [face], f"{turn.frames} frames"))
        rows.append(Row("face", "first frame late by", [(0.0, shown)], duration(shown)))
    if pauses:
        total = duration(sum(stop - begin for begin, stop in pauses))
        rows.append(Row("hushed", f"hushed {len(pauses)}x", pauses, total))
    if turn.outcome is not Outcome.DONE:
        rows.append(Row("ended", turn.outcome, [(end, end)], f"at {duration(end)}"))
    return Picture(f"its reply, {duration(heard)} of sound", rows)


def _between(pauses: Sequence[Span], end: float) -> Iterator[Span]:
    """The parts of 0…`end` that are in none of the pauses, which come in order."""
    at = 0.0
    for begin, stop in pauses:
        if begin > at:
            yield at, begin
        at = max(at, stop)
    if end > at:
        yield at, end


@dataclass(frozen=True)
class Waterfall:
    """For the terminal: of any width, with colours or without, in Unicode or ASCII."""

    turn: TurnMarks

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = pictures(self.turn)
        rows = [row for picture in shown for row in picture.rows]
        names, figures = max(len(row.name) for row in rows), max(len(row.figure) for row in rows)
        with_bars = options.max_width >= names + figures + NARROWEST_BAR + 2
        for picture in shown:
            table = Table.grid(padding=(0, 1, 0, 0))
            table.add_column(width=names if with_bars else None, overflow="fold")
            if with_bars:
                table.add_column()
            table.add_column(justify="right", min_width=figures if with_bars else None, overflow="fold")
            for row in picture.rows:
                bar = [_Bar(row, picture.length_ms)] if with_bars else []
                table.add_row(Text(row.name), *bar, Text(row.figure))
            yield Text(picture.title, "bold")
            yield table


@dataclass(frozen=True)
class _Bar:
    row: Row
    length_ms: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        full, thin = "#|" if options.ascii_only else "█▏"
        cells = bar_cells(self.row.spans, self.length_ms, min(options.max_width, WIDEST_BAR), full, thin)
        yield Text(cells, _COLORS.get(self.row.kind, "cyan"), no_wrap=True, overflow="crop")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(NARROWEST_BAR, min(options.max_width, WIDEST_BAR))


def bar_cells(spans: Sequence[Span], length_ms: float, width: int, full: str = "█", thin: str = "▏") -> str:
    """The spans in `width` cells; what is too short for one still shows as a `thin` one."""
    cells = [" "] * width
    for begin, end in spans:
        first = min(round(begin / length_ms * width), width - 1)
        is_thin = (end - begin) / length_ms * width < 0.5
        last = first + 1 if is_thin else max(first + 1, round(end / length_ms * width))
        cells[first:last] = (thin if is_thin else full) * (last - first)
    return "".join(cells)
