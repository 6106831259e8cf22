"""Starts processes, waits for each by its probe, restarts what crashes, and ends all of them.

Every child asks the kernel to be killed when this process ends (shared.process), so nothing is
left behind however it ends; a child's own children end with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from shared.errors import PeerError, StartupError
from voxloop.paths import ROOT
from voxloop.stack import Unit

PROBE_EVERY_S = 0.1
GRACE_S = 6.0
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.1, 5.0
STABLE_S = 30.0
"""A process that lived this long starts anew without a wait."""
LOG_TAIL = 12  # lines


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    CRASHED = "crashed"
    ENDED = "ended"


class Reporter(Protocol):
    def __call__(self, unit: str, state: State, detail: str) -> None: ...


@dataclass
class _Child:
    unit: Unit
    process: asyncio.subprocess.Process
    started: float


class Supervisor:
    def __init__(self, logs: Path, report: Reporter) -> None:
        self._logs = logs
        self._report = report
        self._children: dict[str, _Child] = {}

    def pid(self, name: str) -> int:
        return self._children[name].process.pid

    async def start(self, units: Sequence[Unit]) -> None:
        """Start all of `units` and wait until each answers its probe; raises StartupError."""
        for unit in units:
            await self._spawn(unit)
        await asyncio.gather(*(self._until_ready(self._children[unit.name]) for unit in units))

    async def watch(self) -> None:
        """Restart whatever ends, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for name in self._children:
                tasks.create_task(self._keep(name))

    async def kill(self, name: str) -> None:
        """End it as the kernel does that is out of memory, and wait until it is gone."""
        process = self._children[name].process
        process.kill()
        await process.wait()

    async def restart(self, name: str) -> None:
        """Start anew what has ended, where nobody watches. Raises StartupError."""
        await self._until_ready(await self._spawn(self._children[name].unit))

    async def stop(self) -> None:
        """End everything: first those started last, then, past the grace, by force."""
        for child in reversed(list(self._children.values())):
            await self._end(child)
            self._report(child.unit.name, State.ENDED, "")
        self._children.clear()

    def log_of(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    async def _spawn(self, unit: Unit) -> _Child:
        self._report(unit.name, State.STARTING, "")
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log_of(unit.name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                unit.module,
                *unit.arguments,
                cwd=ROOT,
                env={**os.environ, **unit.env, "VOXLOOP_SUPERVISED": str(os.getpid())},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches us alone; we end the others in order
            )
        child = _Child(unit, process, time.monotonic())
        self._children[unit.name] = child
        return child

    async def _until_ready(self, child: _Child) -> None:
        ended = asyncio.create_task(child.process.wait())
        reason = ""
        try:
            async with asyncio.timeout(child.unit.ready_s):
                while True:
                    try:
                        await child.unit.probe()
                    except PeerError as error:
                        reason = str(error)
                    else:
                        break
                    await asyncio.wait([ended], timeout=PROBE_EVERY_S)
                    if ended.done():
                        raise StartupError(self._post_mortem(child.unit.name, ended.result()))
        except TimeoutError:
            raise StartupError(
                f"{child.unit.name} is not ready after {child.unit.ready_s:g} s. {reason}"
            ) from None
        finally:
            ended.cancel()
        self._report(child.unit.name, State.READY, f"{time.monotonic() - child.started:.1f} s")

    def _post_mortem(self, name: str, status: int) -> str:
        lines = self.log_of(name).read_text(errors="replace").splitlines()[-LOG_TAIL:]
        return f"{name} ended with status {status} while starting:\n" + "\n".join(
            f"  {line}" for line in lines
        )

    async def _keep(self, name: str) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            child = self._children[name]
            status = await child.process.wait()
            if time.monotonic() - child.started > STABLE_S:
                backoff_s = FIRST_BACKOFF_S
            self._report(name, State.CRASHED, f"status {status}; its log is {self.log_of(name)}")
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)
            with suppress(StartupError):  # it ended again: the loop tells
                await self._until_ready(await self._spawn(child.unit))

    async def _end(self, child: _Child) -> None:
        if child.process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            child.process.terminate()
        try:
            async with asyncio.timeout(GRACE_S):
                await child.process.wait()
        except TimeoutError:  # tritonserver may ignore SIGTERM for minutes after a storm of timeouts
            with suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
            await child.process.wait()
