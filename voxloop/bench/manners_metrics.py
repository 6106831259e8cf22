"""What sophia counts of itself, on a machine that may be busy to the brim."""

from __future__ import annotations

import asyncio
import time

import httpx

POLL_S = 0.1
ASK_S = 30.0
SESSIONS = "voxloop_sophia_sessions"
TASKS = "voxloop_asyncio_tasks"


async def metric(http: str, name: str) -> float:
    """A metric of the sophia at this address, summed over all labels; 0 where it is not there."""
    async with httpx.AsyncClient(trust_env=False, timeout=ASK_S) as client:
        text = (await client.get(f"{http}/metrics")).text
    lines = (line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} ")))
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def fallen(http: str, name: str, most: float, timeout_s: float) -> float:
    """A metric once it has fallen so far, or as it is when the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = await metric(http, name)
        if value <= most or time.monotonic() > deadline:
            return value
        await asyncio.sleep(POLL_S)
