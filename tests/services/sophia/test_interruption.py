"""Hush first, decide then: what speech over a reply does, and what is left of the reply afterwards."""

from __future__ import annotations

import asyncio

import pytest

from shared.audio import RATE, read_wav
from tests.conftest import ROOT
from tests.services.sophia.conftest import Client, Sophia, served
from tests.services.sophia.engines import WORD_MS, Scripted

LONG = [f" word{index}" for index in range(40)]
"""Ten seconds of reply in one clause."""


@pytest.fixture(scope="session")
def speech() -> bytes:
    """Real-sounding speech without the quiet around it, 16 kHz."""
    pcm = read_wav(ROOT / "samples" / "question.wav")
    return pcm[RATE * 2 * 4 // 10 :]


async def speaking(sophia: Sophia, client: Client) -> None:
    """Bring the session into the middle of a long reply."""
    sophia.engines.nova.answer = LONG
    await client.send(type="text", text="tell me a story")
    await client.until("audio")


async def quiet(client: Client, seconds: float) -> None:
    await client.say(bytes(int(RATE * seconds) * 2))


async def test_words_over_a_reply_hush_it_and_then_end_it(sophia: Sophia, speech: bytes) -> None:
    async with sophia.session(animation=True) as client:
        await speaking(sophia, client)
        await client.say(speech[: RATE * 2 // 2])
        assert (await client.until("reply.paused"))["turn"] == 1
        sophia.engines.recognition.interim("stop")
        assert (await client.until("interrupted"))["turn"] == 1
        sophia.engines.nova.answer = ["All right."]
        sophia.engines.recognition.final("stop it")
        await client.until("turn.metrics")
    after = client.events[client.events.index(client.of("interrupted")[0]) + 1 :]
    assert all(event.get("turn", 2) == 2 for event in after)
    audio_of_2 = sum(len(event["pcm"]) for event in after if event["type"] == "audio")
    assert audio_of_2 == 2 * WORD_MS * RATE // 1000 * 2  # and not a sample of the first reply


async def test_an_interruption_reaches_every_engine(sophia: Sophia) -> None:
    engines = sophia.engines
    engines.nova.endless = True
    engines.nova.answer = ["One clause. ", *LONG]
    async with sophia.session(animation=True) as client:
        await client.send(type="text", text="talk on")
        await client.until("animation")
        engines.synthesis.hold = asyncio.Event()
        await client.send(type="cancel")
        await client.until("interrupted")
        await asyncio.wait_for(engines.nova.cancelled.wait(), 5)
        await asyncio.wait_for(engines.aurora.cancelled.wait(), 5)


async def test_a_synthesis_under_way_is_cancelled(sophia: Sophia) -> None:
    engines = sophia.engines
    engines.synthesis.hold = asyncio.Event()
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        await client.until("reply.text")
        await asyncio.wait_for(engines.synthesis.asked.wait(), 5)
        await client.send(type="cancel")
        await client.until("interrupted")
        await asyncio.wait_for(engines.synthesis.cancelled.wait(), 5)


async def test_the_history_keeps_what_was_heard_to_the_word(sophia: Sophia) -> None:
    async with sophia.session() as client:
        await speaking(sophia, client)
        while sum(len(event["pcm"]) for event in client.of("audio")) < RATE * 2 * 4 // 10:
            await client.until("audio")
        await client.send(type="playback", played_ms=2.1 * WORD_MS)
        await client.send(type="cancel")
        interrupted = await client.until("interrupted")
        sophia.engines.nova.answer = ["Yes."]
        await client.send(type="text", text="and then?")
        await client.until("reply.done")
    spoken_ms = interrupted["spoken_ms"]
    # What was sent bounds what can have been heard; the word whose sound was half played counts.
    heard = round(spoken_ms / WORD_MS)
    assert interrupted["spoken_text"] == "".join(LONG[:heard]).strip()
    assert sophia.engines.nova.asked[-1] == [
        ("user", "tell me a story"),
        ("assistant", interrupted["spoken_text"]),
        ("user", "and then?"),
    ]


async def test_a_cough_hushes_and_the_reply_goes_on_where_it_stopped(sophia: Sophia, speech: bytes) -> None:
    async with sophia.session() as client:
        sophia.engines.nova.answer = LONG[:8]
        await client.send(type="text", text="tell me a story")
        await client.until("audio")
        await client.say(speech[: RATE * 2 * 3 // 10])
        await client.until("reply.paused")
        await quiet(client, 1.0)
        assert (await client.until("reply.resumed"))["turn"] == 1
        await client.until("reply.done")
    assert not client.of("interrupted")
    assert sum(len(event["pcm"]) for event in client.of("audio")) == 8 * WORD_MS * RATE // 1000 * 2


async def test_no_sound_is_sent_while_paused(engines: Scripted, speech: bytes) -> None:
    async with served(engines, resume_after_ms=1000) as sophia, sophia.session() as client:
        await speaking(sophia, client)
        await client.say(speech[: RATE * 2 * 3 // 10])
        await client.until("reply.paused")
        await quiet(client, 1.0)
        await client.until("reply.resumed")
    paused = client.events.index(client.of("reply.paused")[0])
    resumed = client.events.index(client.of("reply.resumed")[0])
    assert "audio" not in [event["type"] for event in client.events[paused:resumed]]


async def test_a_backchannel_is_no_interruption_and_no_turn(sophia: Sophia, speech: bytes) -> None:
    async with sophia.session() as client:
        await speaking(sophia, client)
        await client.say(speech[: RATE * 2 * 3 // 10])
        await client.until("reply.paused")
        sophia.engines.recognition.interim("mhm")
        sophia.engines.recognition.final("mhm")
        await client.until("reply.resumed")
    assert len(sophia.engines.nova.asked) == 1


async def test_lasting_speech_interrupts_without_a_word(engines: Scripted, speech: bytes) -> None:
    async with served(engines, interrupt_after_ms=600) as sophia, sophia.session() as client:
        await speaking(sophia, client)
        await client.say(speech)
        await client.until("interrupted")


async def test_words_interrupt_even_where_the_vad_heard_nothing(sophia: Sophia) -> None:
    async with sophia.session() as client:
        await quiet(client, 0.1)
        await sophia.engines.recognition.opened()
        await speaking(sophia, client)
        sophia.engines.recognition.final("stop")
        await client.until("interrupted")


async def test_speech_without_words_closes_its_own_turn(sophia: Sophia, speech: bytes) -> None:
    async with sophia.session() as client:
        await client.say(speech[: RATE * 2 * 3 // 10])
        await client.until("speech.started")
        await quiet(client, 1.0)
        await client.until("speech.stopped")
        await client.send(type="text", text="hello")
        await client.until("reply.done")


async def test_fifty_interruptions_in_a_row(sophia: Sophia) -> None:
    async with sophia.session(animation=True) as client:
        for turn in range(1, 51):
            await speaking(sophia, client)
            await client.send(type="cancel")
            assert (await client.until("interrupted"))["turn"] == turn
        sophia.engines.nova.answer = ["Still", " here."]
        await client.send(type="text", text="hello")
        await client.until("turn.metrics")
    assert client.of("reply.done")[-1] == {"type": "reply.done", "turn": 51, "text": "Still here."}
