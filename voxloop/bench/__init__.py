"""The benchmarks behind every figure that the documentation quotes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from voxloop.bench import speech
from voxloop.bench.report import Report

BENCHMARKS: dict[str, Callable[[], Report]] = {"speech": speech.run}


def run(which: str) -> Iterator[Report]:
    """One benchmark by name, or `all` of them one after the other."""
    for name, benchmark in BENCHMARKS.items():
        if which in (name, "all"):
            yield benchmark()
