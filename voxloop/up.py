"""`voxloop up`: everything started, watched, and ended together."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from voxloop import stack as stacks
from voxloop.stack import Stack
from voxloop.supervisor import State, Supervisor


class Board:
    """One progress line for each process while they start; plain lines afterwards."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: dict[str, TaskID] = {}
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<8}"),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._live = False

    def __enter__(self) -> Self:
        self._live = self._console.is_terminal
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._progress.stop()
        self._live = False

    def __call__(self, unit: str, state: State, detail: str) -> None:
        if not self._live:
            if state is not State.STARTING:
                self._console.print(f"{unit:<8} {state} {detail}".rstrip(), highlight=False)
            return
        if unit not in self._lines:
            self._lines[unit] = self._progress.add_task(unit, total=1, state=str(state))
        self._progress.update(self._lines[unit], state=str(state), completed=int(state is State.READY))


def addresses(stack: Stack) -> Table:
    table = Table("process", "address", box=None, pad_edge=False)
    for unit in stack.units:
        table.add_row(unit.name, "  ".join(f"{kind} {where}" for kind, where in unit.addresses.items()))
    return table


@asynccontextmanager
async def running(console: Console) -> AsyncIterator[Stack]:
    """The whole stack, ready; restarts what crashes while the body runs, and ends all of it afterwards."""
    stack = stacks.from_environment()
    stack.check_ports()
    board = Board(console)
    supervisor = Supervisor(stack.logs, board)
    started = time.monotonic()
    try:
        with board:
            await supervisor.start(stack.engines)
            await supervisor.start(stack.services)
        console.print(f"ready in {time.monotonic() - started:.1f} s", highlight=False)
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(supervisor.watch())
            yield stack
            watch.cancel()
    finally:
        await supervisor.stop()


async def until_interrupted() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


async def up(console: Console) -> None:
    async with running(console) as stack:
        console.print(addresses(stack))
        console.print("Ctrl-C ends everything.")
        await until_interrupted()
