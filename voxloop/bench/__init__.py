"""The benchmarks behind every figure that the documentation quotes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from shared.errors import StartupError
from voxloop.bench.report import Report

BENCHMARKS = ("speech", "nova", "loop", "model", "face")
"""Modules of this package, each with a `run() -> Report`; imported only when they are asked for."""

PLOTTED = ("nova",)
"""Those whose `run` takes the file of a picture."""


def run(which: str, plot: Path | None = None) -> Iterator[Report]:
    """One benchmark by name, or `all` of them one after the other; `plot` is for those that have one."""
    if plot is not None and which != "all" and which not in PLOTTED:
        raise StartupError(f"bench {which} has no plot.", hint=f"Those with one: {', '.join(PLOTTED)}.")
    for name in BENCHMARKS:
        if which in (name, "all"):
            options = {"plot": plot} if name in PLOTTED else {}
            report = import_module(f"{__name__}.{name}").run(**options)
            assert isinstance(report, Report)  # noqa: S101 - for the type checker
            yield report
