"""The benchmarks behind every figure that the documentation quotes."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from importlib import import_module
from pathlib import Path

from shared.errors import StartupError
from voxloop.bench.report import Report


class Benchmark(StrEnum):
    """Modules of this package, each with a `run() -> Report`; imported only when they are asked for."""

    ALL = "all"
    """All of the others, one after the other."""
    SPEECH = "speech"
    NOVA = "nova"
    LOOP = "loop"
    FACE = "face"
    MANNERS = "manners"
    MODEL = "model"


PLOTTED = (Benchmark.NOVA,)
"""Those whose `run` takes the file of a picture."""
SHORTENED = (Benchmark.FACE, Benchmark.MANNERS)
"""Those that take very long, and whose `run` may be told to do little of everything."""


def run(which: Benchmark, plot: Path | None = None, *, short: bool = False) -> Iterator[Report]:
    """`plot` and `short` are for those that have them."""
    if plot is not None and which not in (Benchmark.ALL, *PLOTTED):
        raise StartupError(f"bench {which} has no plot.", hint=f"Those with one: {', '.join(PLOTTED)}.")
    if short and which not in (Benchmark.ALL, *SHORTENED):
        raise StartupError(
            f"bench {which} has no short form.", hint=f"Those with one: {', '.join(SHORTENED)}."
        )
    for name in Benchmark:
        if name is not Benchmark.ALL and which in (name, Benchmark.ALL):
            options: dict[str, object] = {"plot": plot} if name in PLOTTED else {}
            if name in SHORTENED:
                options["short"] = short
            report = import_module(f"{__name__}.{name}").run(**options)
            assert isinstance(report, Report)  # noqa: S101 - for the type checker
            yield report
