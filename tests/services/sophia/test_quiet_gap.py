"""An utterance whose final never comes is ended by its quiet, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from pydantic import ValidationError

from services.sophia.hearing import Heard, Hearing
from services.sophia.metrics import QUIET_FINALS
from services.sophia.riva import Listening, Riva
from services.sophia.settings import SophiaSettings
from shared.audio import RATE
from shared.channels import Endpoint
from tests.services.sophia.conftest import Client, Sophia, served
from tests.services.sophia.engines import Scripted

QUIET = bytes(RATE // 50 * 2)


@pytest.fixture
async def sophia(engines: Scripted) -> AsyncIterator[Sophia]:
    async with served(engines, quiet_final_ms=200) as sophia:
        yield sophia


@asynccontextmanager
async def microphone(client: Client) -> AsyncIterator[None]:
    """Nobody speaks, at the pace of a clock."""

    async def run() -> None:
        while True:
            await client.socket.send(QUIET)
            await asyncio.sleep(0.02)

    running = asyncio.create_task(run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_what_was_heard_last_counts_when_no_final_comes(sophia: Sophia) -> None:
    ears, before = sophia.engines.recognition, QUIET_FINALS._value.get()
    async with sophia.session() as client, microphone(client):
        await ears.opened()
        ears.interim("what time")
        ears.interim("what time is it", stability=0.7)
        await client.until("reply.done")
        await ears.opened()  # another stream hears what follows
        ears.final("thank you")
        await client.until("reply.done")
    assert [event["text"] for event in client.of("transcript.final")] == ["what time is it", "thank you"]
    assert client.of("transcript.final")[0]["confidence"] == pytest.approx(0.7)
    assert [asked[-1] for asked in sophia.engines.nova.asked] == [
        ("user", "what time is it"),
        ("user", "thank you"),
    ]
    assert QUIET_FINALS._value.get() == before + 1
    assert not client.of("error")


async def test_an_interim_that_riva_withdraws_is_no_question(sophia: Sophia) -> None:
    ears = sophia.engines.recognition
    async with sophia.session() as client, microphone(client):
        await ears.opened()
        ears.interim("hm what")
        ears.final("")
        await client.until("transcript.partial")
        ears.interim("hello")
        await client.until("reply.done")
    assert [event["text"] for event in client.of("transcript.final")] == ["hello"]


async def test_what_was_heard_of_a_riva_that_died_is_answered_and_not_heard_again(sophia: Sophia) -> None:
    ears = sophia.engines.recognition
    async with sophia.session() as client:
        await client.say(b"\x01\x00" * RATE)
        await ears.opened()
        ears.interim("what time is it")
        await client.until("transcript.partial")
        ears.refuse = (grpc.StatusCode.UNAVAILABLE, "still starting")
        ears.fail(grpc.StatusCode.UNAVAILABLE)
        await client.until("error")
        async with microphone(client):
            await client.until("reply.done")
            ears.refuse = None
            await ears.opened()
            ears.final("thank you")
            await client.until("reply.done")
    assert [event["text"] for event in client.of("transcript.final")] == ["what time is it", "thank you"]
    assert b"\x01\x00" not in ears.received[-1]


async def test_quiet_that_comes_faster_than_riva_can_hear_it_is_no_gap(engines: Scripted) -> None:
    """As behind `input_audio_buffer.commit`: the final is on its way."""
    async with served(engines, quiet_final_ms=11_000) as sophia, sophia.session() as client:
        await client.say(QUIET)
        await engines.recognition.opened()
        engines.recognition.interim("what time")
        await client.until("transcript.partial")
        for _ in range(12):
            await client.socket.send(bytes(RATE * 2))
        await engines.recognition.has_received(11.9)
        engines.recognition.final("what time is it")
        await client.until("reply.done")
    assert [event["text"] for event in client.of("transcript.final")] == ["what time is it"]


async def test_a_final_that_is_late_has_nobody_to_hear_it(engines: Scripted) -> None:
    ears = engines.recognition
    heard: asyncio.Queue[Heard] = asyncio.Queue()
    riva = Riva(Endpoint("riva", engines.addresses["riva"]), 5)
    hearing = Hearing(riva, Listening(), heard.put_nowait, pytest.fail, 60)
    running = asyncio.create_task(hearing.run())
    async with asyncio.timeout(20):
        hearing.feed(QUIET, in_speech=True)
        await ears.opened()
        ears.interim("what time is it")
        assert not (await heard.get()).is_final
        ears.final("what time is it")
        hearing.forget()
        hearing.feed(QUIET, in_speech=False)
        await ears.opened()
        ears.final("next")
        assert (await heard.get()).text == "next"
    running.cancel()
    await asyncio.wait([running])
    await riva.close()


def test_the_quiet_that_ends_an_utterance_is_longer_than_rivas_own() -> None:
    with pytest.raises(ValidationError, match="SOPHIA_QUIET_FINAL_MS must be more"):
        SophiaSettings(quiet_final_ms=500, asr_stop_history_ms=800)
    SophiaSettings(quiet_final_ms=0, asr_stop_history_ms=800)
