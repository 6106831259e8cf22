"""An answer that begins before its question is certain: ready when it was right, unheard when it was not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.sophia.metrics import EARLY_STARTS
from tests.services.sophia.conftest import Client, Sophia, served
from tests.services.sophia.engines import Scripted


@pytest.fixture
async def eager(engines: Scripted) -> AsyncIterator[Sophia]:
    async with served(engines, early_start=True) as sophia:
        yield sophia


async def pausing(client: Client, sophia: Sophia) -> None:
    """Somebody has spoken and is quiet now."""
    await client.say(bytes(6400))
    await sophia.engines.recognition.opened()
    await sophia.engines.recognition.has_received(0.2)


def started(outcome: str) -> float:
    return EARLY_STARTS.labels(outcome)._value.get()


async def test_a_confirmed_start_is_spoken_without_asking_again(eager: Sophia) -> None:
    before = started("confirmed")
    async with eager.session() as client:
        await pausing(client, eager)
        eager.engines.recognition.interim("what time is it", stability=1.0)
        await asyncio.wait_for(eager.engines.synthesis.asked.wait(), 30)
        assert client.of("reply.started") == []
        eager.engines.recognition.final("What time is it?")
        metrics = await client.until("turn.metrics")
    kinds = [event["type"] for event in client.events if event["type"] != "audio"]
    assert kinds[-6:] == [
        "transcript.final",
        "reply.started",
        "reply.text",
        "reply.text",
        "reply.done",
        "turn.metrics",
    ]
    assert client.of("audio")
    assert len(eager.engines.nova.asked) == 1
    assert metrics["stages"]["llm_first_token"] == 0
    assert started("confirmed") == before + 1


async def test_a_start_that_the_final_contradicts_is_never_heard(eager: Sophia) -> None:
    nova = eager.engines.nova
    nova.answer, nova.endless = ["It is", " noon."], True
    async with eager.session(animation=True) as client:
        await pausing(client, eager)
        eager.engines.recognition.interim("what time", stability=1.0)
        await asyncio.wait_for(eager.engines.synthesis.asked.wait(), 30)
        nova.answer, nova.endless = ["Nine", " o'clock."], False
        eager.engines.recognition.final("what time is it in rome")
        await client.until("reply.done")
    await asyncio.wait_for(nova.cancelled.wait(), 30)
    assert [event["turn"] for event in client.of("reply.started")] == [1]
    assert "".join(event["text"] for event in client.of("reply.text")) == "Nine o'clock."
    assert nova.asked[-1] == [("user", "what time is it in rome")]


async def test_an_early_start_that_fails_is_no_fault_and_the_final_tries_again(eager: Sophia) -> None:
    nova, before = eager.engines.nova, started("failed")
    nova.fail_after = 0
    async with eager.session() as client:
        await pausing(client, eager)
        eager.engines.recognition.interim("hello you", stability=1.0)
        await asyncio.wait_for(nova.cancelled.wait(), 30)
        while started("failed") == before:  # noqa: ASYNC110 - a metric tells nobody that it has changed
            await asyncio.sleep(0.01)
        nova.fail_after = None
        eager.engines.recognition.final("hello you")
        assert (await client.until("reply.done"))["text"] == "Hello there."
    assert client.of("error") == []


@pytest.mark.parametrize("stability", [0.5, 1.0])
async def test_nothing_begins_on_an_unstable_interim_nor_while_it_is_off(
    eager: Sophia, sophia: Sophia, stability: float
) -> None:
    one = eager if stability < 1 else sophia
    async with one.session() as client:
        await pausing(client, one)
        one.engines.recognition.interim("what time is it", stability=stability)
        await client.until("transcript.partial")
        one.engines.recognition.final("what time is it now")
        await client.until("reply.done")
    assert len(one.engines.nova.asked) == 1


async def test_a_session_that_ends_takes_its_early_start_along(eager: Sophia) -> None:
    nova = eager.engines.nova
    nova.endless = True
    async with eager.session() as client:
        await pausing(client, eager)
        eager.engines.recognition.interim("what time is it", stability=1.0)
        await asyncio.wait_for(eager.engines.synthesis.asked.wait(), 30)
    await asyncio.wait_for(nova.cancelled.wait(), 30)
