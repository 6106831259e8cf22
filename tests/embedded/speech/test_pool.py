from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import psutil
import pytest

from embedded.speech.frames import Kind
from embedded.speech.pool import Pool, Utterance
from embedded.speech.results import Options
from shared.errors import Overloaded, PeerUnavailable
from tests.embedded.speech.conftest import said, sample

DEADLINE_S = 120.0
SPOKEN = sample("question")


@pytest.fixture(scope="module", name="pool")
async def pool_of_one() -> AsyncIterator[Pool]:
    pool = Pool(size=1, wait_s=0.1)
    await pool.start()
    yield pool
    await pool.stop()


async def opened(pool: Pool) -> Utterance:
    """As soon as the one worker is free, or there again."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await pool.open(Options(interim=False))
            except Overloaded:
                continue


async def final_text(utterance: Utterance) -> str:
    async with asyncio.timeout(DEADLINE_S):
        results = [result async for kind, result in utterance.results() if kind is Kind.FINAL]
    return results[-1].text


async def test_an_utterance_gets_its_final(pool: Pool) -> None:
    utterance = await opened(pool)
    await utterance.feed(SPOKEN)
    await utterance.close()
    assert await final_text(utterance) == said("question")


async def test_while_the_worker_is_taken_others_are_told_so(pool: Pool) -> None:
    utterance = await opened(pool)
    with pytest.raises(Overloaded, match="all 1 recognition workers are busy"):
        await pool.open(Options())
    utterance.drop()


async def test_a_dropped_utterance_frees_its_worker_at_once(pool: Pool) -> None:
    first = await opened(pool)
    await first.feed(SPOKEN)
    first.drop()
    second = await pool.open(Options())
    await second.feed(sample("count"))
    await second.close()
    assert await final_text(second) == said("count")


async def test_a_final_frees_its_worker(pool: Pool) -> None:
    utterance = await opened(pool)
    await utterance.close()
    assert await final_text(utterance) == ""
    (await pool.open(Options())).drop()


async def test_a_pause_brings_a_guess_that_the_final_repeats(pool: Pool) -> None:
    utterance = await opened(pool)
    await utterance.feed(SPOKEN)
    await utterance.pause()
    results = utterance.results()
    kind, guess = await anext(results)
    assert kind is Kind.GUESS
    await utterance.close()
    assert await anext(results) == (Kind.FINAL, guess)


async def test_speech_after_a_pause_makes_the_guess_void(pool: Pool) -> None:
    half = len(SPOKEN) // 4 * 2
    utterance = await opened(pool)
    await utterance.feed(SPOKEN[:half])
    await utterance.pause()
    await utterance.resume()
    await utterance.feed(SPOKEN[half:])
    await utterance.close()
    assert await final_text(utterance) == said("question")


async def test_a_worker_that_dies_costs_its_utterance_and_is_replaced(pool: Pool) -> None:
    utterance = await opened(pool)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(PeerUnavailable, match="its process ended"):
        await final_text(utterance)
    await utterance.feed(SPOKEN)  # what its stream still sends goes nowhere
    again = await opened(pool)
    await again.feed(SPOKEN)
    await again.close()
    assert await final_text(again) == said("question")
    assert pool.pids != [pid]


async def test_stopping_ends_the_workers() -> None:
    pool = Pool(size=1, wait_s=1)
    await pool.start()
    (pid,) = pool.pids
    await pool.stop()
    assert not psutil.pid_exists(pid)
