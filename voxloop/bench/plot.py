"""Rows as a picture, for those who have matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.errors import StartupError
from voxloop.bench.report import Row

_LINES = {"bare": "--", "nova": "-", "nova sse": ":"}
_COLORS = {"whole": "tab:blue", "stream": "tab:orange"}


def check() -> None:
    """Raises StartupError before anything is measured for a picture that nobody can draw."""
    try:
        import matplotlib  # noqa: F401, PLC0415 - half a second, and not everybody has it
    except ImportError:
        raise StartupError(
            "--plot needs matplotlib.", hint="Install it: pip install 'voxloop[bench]'."
        ) from None


def latency_and_throughput(rows: Sequence[Row], file: Path) -> None:
    """Tokens/s and the time to the first token against concurrency, a line for each mode and side."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for mode, side in dict.fromkeys((row["mode"], row["side"]) for row in rows):
        of_line = [row for row in rows if (row["mode"], row["side"]) == (mode, side)]
        at = [row["concurrency"] for row in of_line]
        for axes, column in ((left, "tokens_per_s"), (right, "first_ms_p50")):
            axes.plot(
                at,
                [row[column] for row in of_line],
                _LINES[side],
                color=_COLORS[mode],
                marker="o",
                label=f"{mode}, {side}",
            )
    for axes, title in ((left, "tokens/s"), (right, "first text (whole: all of it), ms, p50")):
        axes.set(title=title, xlabel="requests at once")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        raise StartupError(f"the plot cannot be written to {file}: {error}") from None
