"""Which core a benchmark's processes run on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def on_core(index: int) -> Iterator[None]:
    """What is started here stays on one core, where the machine has several; -1 is the last."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[index]} if len(cores) > 1 else before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
