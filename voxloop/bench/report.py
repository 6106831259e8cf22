"""What every benchmark returns, and how it is printed."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

Row = dict[str, Any]
Figures = dict[str, float | int | None]


@dataclass(frozen=True)
class Report:
    """`rows` are single measurements, `figures` what claims rest on (None: not measurable here)."""

    bench: str
    rows: Sequence[Row]
    figures: Figures
    notes: Sequence[str] = field(default=())

    def json(self) -> str:
        body = {
            "bench": self.bench,
            "machine": machine(),
            "rows": self.rows,
            "figures": self.figures,
            "notes": self.notes,
        }
        return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode()

    def show(self, console: Console) -> None:
        for columns, rows in groupby(self.rows, key=tuple):
            table = Table(*columns, title=f"bench {self.bench}", title_justify="left")
            for row in rows:
                table.add_row(*(_short(value) for value in row.values()))
            console.print(table)
        for name, value in self.figures.items():
            console.print(f"[bold]{name}[/] {_short(value)}")
        for note in self.notes:
            console.print(f"[dim]{note}[/]")


def machine() -> dict[str, Any]:
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "os": platform.platform(),
        "python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
