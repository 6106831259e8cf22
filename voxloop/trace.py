"""A conversation as one HTML page: every turn with its waterfall. It needs nothing else, and runs no script.

No word that was said is in it unless asked for: a trace is made to be shown to others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from voxloop.output_file import writing
from voxloop.turn_marks import Span, TurnMarks
from voxloop.waterfall import Picture, Row, duration, pictures, waited_ms

_UNITS = 1000.0
"""Of the drawing, from left to right."""
_THINNEST = 2.0


def write(file: Path, turns: Sequence[TurnMarks], *, words: bool = False) -> None:
    """`words`: what was said is written down, too. Raises InputError."""
    with writing(file):
        file.write_text(page(turns, words=words), "utf-8")


def page(turns: Sequence[TurnMarks], *, words: bool = False) -> str:
    title = f"A conversation of {len(turns)} turn{'' if len(turns) == 1 else 's'}"
    body = [f"<h1>{title}</h1>", f"<p>{_EXPLAINED}</p>"]
    if len(turns) > 1:
        body.append(_overview(turns))
    body += [_turn(turn, words=words) for turn in turns]
    return _PAGE.format(title=title, style=_STYLE, body="\n".join(body))


def _overview(turns: Sequence[TurnMarks]) -> str:
    waits = [(turn, waited_ms(turn)) for turn in turns]
    longest = max(ms for _, ms in waits)
    rows = (
        Row("here", f"turn {turn.number}, {turn.outcome}", [(0.0, ms)], duration(ms)) for turn, ms in waits
    )
    return f"<section><h2>How long each waited</h2>{_table(rows, longest)}</section>"


def _turn(turn: TurnMarks, *, words: bool) -> str:
    said = (
        f"<dl><dt>heard</dt><dd>{escape(turn.question)}</dd><dt>answered</dt><dd>{escape(turn.answer)}</dd></dl>"
        if words
        else ""
    )
    wait, *reply = pictures(turn)
    drawn = [_picture("h2", wait), said, *(_picture("h3", picture) for picture in reply)]
    return f"<section>{''.join(drawn)}</section>"


def _picture(heading: str, picture: Picture) -> str:
    return f"<{heading}>{escape(picture.title)}</{heading}>{_table(picture.rows, picture.length_ms)}"


def _table(rows: Iterable[Row], length_ms: float) -> str:
    return f"<table>{''.join(_row(row, length_ms) for row in rows)}</table>"


def _row(row: Row, length_ms: float) -> str:
    bars = "".join(_bar(row, span, length_ms) for span in row.spans)
    drawing = f'<svg viewBox="0 0 {_UNITS:g} 1" preserveAspectRatio="none" aria-hidden="true">{bars}</svg>'
    name, figure = escape(row.name), escape(row.figure)
    return f'<tr><th scope="row">{name}</th><td class="bar">{drawing}</td><td>{figure}</td></tr>'


def _bar(row: Row, span: Span, length_ms: float) -> str:
    begin, end = (_UNITS * ms / length_ms for ms in span)
    width = max(end - begin, _THINNEST)
    told = escape(
        f"{row.name}: {duration(span[1] - span[0])}, from {duration(span[0])} to {duration(span[1])}"
    )
    x = min(begin, _UNITS - width)
    place = f'x="{x:.2f}" width="{width:.2f}" height="1"'
    return f'<rect class="{escape(row.kind)}" {place}><title>{told}</title></rect>'


_EXPLAINED = (
    "Of each turn, first the wait: from the end of what was said, as the server tells it, to the first sound "
    "that came to the client; each stage begins where the one before it ended. Then the reply: from its "
    "first sound on, by the client's clock. Point at a bar for its times."
)

_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #15191d; --muted: #5a6570; --line: #d9dfe4; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0e1216; --ink: #e9eef2; --muted: #98a5b1; --line: #2a333c; }
}
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.4 system-ui, sans-serif; }
p, th, dt { color: var(--muted); }
section { border-top: 1px solid var(--line); margin-top: 1.5rem; }
h2 { font-size: 1.1rem; } h3 { font-size: 1rem; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { width: 13rem; text-align: left; font-weight: normal; }
td { text-align: right; white-space: nowrap; padding-left: .8rem; width: 5rem; }
td.bar { width: auto; padding: 0; }
svg { display: block; width: 100%; height: 1rem; overflow: visible; }
rect { fill: #66788a; }
rect:hover { opacity: .7; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.speech_end_to_final { fill: #4477aa; } .llm_first_token { fill: #aa3377; } .first_clause { fill: #ee6677; }
.tts_first_audio { fill: #ccaa33; } .first_audio_sent { fill: #228833; } .here { fill: #3ba6cc; }
.face { fill: #8f6fd1; } .hushed { fill: #d9962b; } .ended { fill: #d0413b; }
@media (max-width: 40rem) { th { width: 7rem; } }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
