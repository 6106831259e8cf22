"""Run a command of somebody else's, with a deadline, and say how it went. Never raises for what it does."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass

SHOWN = 300
"""Characters of a command's output that a message quotes."""


@dataclass(frozen=True)
class Ran:
    """`fault` is empty where the command ended by itself with status 0."""

    out: str = ""
    fault: str = ""
    missing: bool = False
    """There is no such command on PATH."""
    hung: bool = False

    @property
    def ok(self) -> bool:
        return not self.fault


async def run(*argv: str, deadline_s: float) -> Ran:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,  # nothing may ask for a password
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        return Ran(fault=f"{argv[0]} is not installed", missing=True)
    except OSError as error:
        return Ran(fault=f"{argv[0]} cannot be run ({error.strerror})")
    try:
        async with asyncio.timeout(deadline_s):
            out, err = await process.communicate()
    except TimeoutError:
        return Ran(fault=f"{argv[0]} did not end within {deadline_s:g} s", hung=True)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            # Not waited for: one that hangs in the driver (state D) takes no signal, and would hold us.
    text = out.decode(errors="replace")
    if process.returncode == 0:
        return Ran(text)
    said = " ".join((err.decode(errors="replace").strip() or text.strip()).split())[:SHOWN]
    return Ran(text, f"{argv[0]} ended with status {process.returncode}{': ' if said else ''}{said}")
