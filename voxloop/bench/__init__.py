"""The benchmarks behind every figure that the documentation quotes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from voxloop.bench.report import Report

BENCHMARKS = ("speech",)
"""Modules of this package, each with a `run() -> Report`; imported only when they are asked for."""


def run(which: str) -> Iterator[Report]:
    """One benchmark by name, or `all` of them one after the other."""
    for name in BENCHMARKS:
        if which in (name, "all"):
            report = import_module(f"{__name__}.{name}").run()
            assert isinstance(report, Report)  # noqa: S101 - for the type checker
            yield report
