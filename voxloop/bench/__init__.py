"""The benchmarks behind every figure that the documentation quotes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from shared.errors import StartupError
from voxloop.bench.report import Report

BENCHMARKS = ("speech", "nova", "loop", "face", "manners", "model")
"""Modules of this package, each with a `run() -> Report`; imported only when they are asked for."""

PLOTTED = ("nova",)
"""Those whose `run` takes the file of a picture."""


SHORTENED = ("manners",)
"""Those that take very long, and whose `run` may be told to do little of everything."""


def run(which: str, plot: Path | None = None, *, short: bool = False) -> Iterator[Report]:
    """One benchmark by name, or `all` of them one after the other; `plot` and `short` are for those that
    have them."""
    if plot is not None and which != "all" and which not in PLOTTED:
        raise StartupError(f"bench {which} has no plot.", hint=f"Those with one: {', '.join(PLOTTED)}.")
    if short and which != "all" and which not in SHORTENED:
        raise StartupError(
            f"bench {which} has no short form.", hint=f"Those with one: {', '.join(SHORTENED)}."
        )
    for name in BENCHMARKS:
        if which in (name, "all"):
            options: dict[str, object] = {"plot": plot} if name in PLOTTED else {}
            if name in SHORTENED:
                options["short"] = short
            report = import_module(f"{__name__}.{name}").run(**options)
            assert isinstance(report, Report)  # noqa: S101 - for the type checker
            yield report
