"""Processes are started in order, waited for by a real probe, restarted when they crash, and all ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from shared.errors import PeerUnavailable, StartupError
from voxloop.stack import Unit
from voxloop.supervisor import State, Supervisor


class Reports:
    """What the supervisor told, and a way to wait for it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, State, str]] = []
        self._news = asyncio.Event()

    def __call__(self, unit: str, state: State, detail: str) -> None:
        self.seen.append((unit, state, detail))
        self._news.set()

    async def until(self, unit: str, state: State, times: int = 1) -> None:
        async with asyncio.timeout(20):
            while [(name, what) for name, what, _ in self.seen].count((unit, state)) < times:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of throwaway modules that `python -m` finds."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def unit(modules: Path, name: str, body: str) -> Unit:
    """A process that says that it is ready by writing `<name>.ready`."""
    marker = modules / f"{name}.ready"
    program = f"import os, pathlib, signal, sys, time\nready = pathlib.Path({str(marker)!r})\n{body}\n"
    (modules / f"{name}.py").write_text(program)

    async def probe() -> None:
        if not marker.exists():
            raise PeerUnavailable(name, "is not ready")

    return Unit(name, name, {}, {}, {}, probe)


SERVE = "ready.write_text(str(os.getpid()))\nsignal.pause()"


async def test_started_watched_and_ended(modules: Path) -> None:
    reports = Reports()
    supervisor = Supervisor(modules / "logs", reports)
    await supervisor.start([unit(modules, "one", SERVE), unit(modules, "two", SERVE)])
    pids = [supervisor.pid("one"), supervisor.pid("two")]
    assert all(psutil.pid_exists(pid) for pid in pids)
    await supervisor.stop()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert [(name, state) for name, state, _ in reports.seen][-2:] == [
        ("two", State.ENDED),
        ("one", State.ENDED),
    ]


async def test_what_crashes_is_started_anew(modules: Path) -> None:
    reports = Reports()
    supervisor = Supervisor(modules / "logs", reports)
    await supervisor.start([unit(modules, "frail", SERVE)])
    watching = asyncio.create_task(supervisor.watch())
    try:
        for crash in (1, 2):
            os.kill(supervisor.pid("frail"), signal.SIGKILL)
            await reports.until("frail", State.CRASHED, crash)
            await reports.until("frail", State.READY, crash + 1)
        assert psutil.pid_exists(supervisor.pid("frail"))
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await supervisor.stop()


async def test_a_process_that_cannot_start_says_why(modules: Path) -> None:
    supervisor = Supervisor(modules / "logs", Reports())
    with pytest.raises(StartupError, match="broken ended with status 3") as caught:
        await supervisor.start([unit(modules, "broken", "sys.exit(print('the disk is full') or 3)")])
    assert "the disk is full" in str(caught.value)
    await supervisor.stop()


async def test_one_that_ignores_sigterm_is_ended_by_force(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxloop.supervisor.GRACE_S", 0.2)
    supervisor = Supervisor(modules / "logs", Reports())
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nready.touch()\nwhile True: time.sleep(1)"
    await supervisor.start([unit(modules, "deaf", deaf)])
    pid = supervisor.pid("deaf")
    await supervisor.stop()
    assert not psutil.pid_exists(pid)


async def test_children_end_with_a_supervisor_that_is_killed(modules: Path) -> None:
    child = modules / "child.py"
    child.write_text(
        f"from shared import process\nprocess.supervised()\nimport os, pathlib, signal\n"
        f"pathlib.Path({str(modules / 'pid')!r}).write_text(str(os.getpid()))\nsignal.pause()\n"
    )
    parent = modules / "parent.py"
    parent.write_text(
        "import asyncio, pathlib\n"
        "from voxloop.stack import Unit\n"
        "from voxloop.supervisor import Supervisor\n"
        "async def main():\n"
        "    async def probe():\n"
        "        pass\n"
        f"    supervisor = Supervisor(pathlib.Path({str(modules / 'logs')!r}), lambda *_: None)\n"
        "    await supervisor.start([Unit('child', 'child', {}, {}, {}, probe)])\n"
        "    print('started', flush=True)\n"
        "    await supervisor.watch()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(parent), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        await process.stdout.readline()
        # Not our own process: there is no event of it to await.
        while not (modules / "pid").exists() or not (modules / "pid").read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        orphan = psutil.Process(int((modules / "pid").read_text()))
        process.kill()
        await process.wait()
        await asyncio.to_thread(psutil.wait_procs, [orphan], 10)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
