"""Seen on real processes: one that computes, one that sleeps, one that is gone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module

import pytest

Progress = import_module("models.nova.1.standstill").Progress

DEADLOCK = "import threading; lock = threading.Lock(); lock.acquire(); print(flush=True); lock.acquire()"
BUSY = "print(flush=True)\nwhile True: pass"


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", request.param], stdout=subprocess.PIPE) as running:
        assert running.stdout
        running.stdout.readline()
        yield running
        running.kill()


@pytest.mark.parametrize("process", [DEADLOCK], indirect=True)
def test_a_process_whose_threads_all_sleep_makes_no_progress(process: subprocess.Popen[bytes]) -> None:
    progress = Progress(process.pid)
    while progress.made():  # it may still be on its way to the lock
        pass
    assert not progress.made()


@pytest.mark.parametrize("process", [BUSY], indirect=True)
def test_a_process_that_computes_or_waits_for_its_turn_makes_progress(
    process: subprocess.Popen[bytes],
) -> None:
    progress = Progress(process.pid)
    assert all(progress.made() for _ in range(50))


@pytest.mark.parametrize("process", [BUSY], indirect=True)
def test_a_process_that_is_gone_makes_none(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert not Progress(process.pid).made()
