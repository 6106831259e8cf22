"""A deadline that costs no timer: it ends what hangs, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable

import pytest

from shared.deadline import Deadline


async def under_deadline(seconds: float, awaitable: Awaitable[object]) -> None:
    async with Deadline(seconds) as deadline:
        with deadline:
            await awaitable


async def test_what_hangs_is_ended() -> None:
    async with asyncio.timeout(30):
        with pytest.raises(TimeoutError):
            await under_deadline(0.02, asyncio.Event().wait())


async def test_waits_that_are_not_limited_may_last() -> None:
    async with Deadline(0.02) as deadline:
        for _ in range(3):
            await asyncio.sleep(0.05)
            with deadline:
                await asyncio.sleep(0)


async def test_a_cancelled_one_is_cancelled_and_not_late() -> None:
    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    begun = asyncio.Event()
    task = asyncio.create_task(under_deadline(5, hang()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_goes_through() -> None:
    async def fail() -> None:
        raise ValueError("as it was")

    with pytest.raises(ValueError, match="as it was"):
        await under_deadline(5, fail())


async def test_no_timer_is_left_behind() -> None:
    """It would hold the deadline, and wake the loop for ever."""
    deadline = Deadline(5)
    async with deadline:
        pass
    left = weakref.ref(deadline)
    del deadline
    gc.collect()
    assert left() is None
