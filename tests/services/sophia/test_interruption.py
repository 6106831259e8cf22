"""Hush first, decide then: what speech over a reply does, and what is left of the reply afterwards."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from shared.audio import RATE, read_wav
from tests.conftest import ROOT
from tests.fixtures.spoken import said
from tests.services.sophia.conftest import Client, Sophia, served
from tests.services.sophia.engines import WORD_MS, Scripted

LONG = [f" word{index}" for index in range(40)]
"""Ten seconds of reply in one clause."""


@pytest.fixture(scope="session")
def speech() -> bytes:
    """Real-sounding speech without the quiet around it, 16 kHz."""
    pcm = read_wav(ROOT / "samples" / "question.wav")
    return pcm[RATE * 2 * 4 // 10 :]


@pytest.fixture(scope="session")
def crowd(speech: bytes) -> bytes:
    """Many voices at once, six seconds without a pause."""
    samples = np.frombuffer(speech[: len(speech) // 320 * 320], "<i2").reshape(-1, 160).astype(np.float32)
    level = np.sqrt((samples**2).mean(axis=1))
    voiced = np.resize(samples[level > level.max() / 20].reshape(-1), RATE * 6)
    mixed = sum(np.roll(voiced, voice * 7919) for voice in range(4)) / 2
    return np.clip(mixed, -32768, 32767).astype("<i2").tobytes()


async def speaking(sophia: Sophia, client: Client) -> None:
    """Bring the session into the middle of a long reply."""
    sophia.engines.nova.answer = LONG
    await client.send(type="text", text="tell me a story")
    await client.until("audio")


def short(speech: bytes) -> bytes:
    """Enough to hush a reply, and shorter than a word."""
    return speech[: RATE * 2 * 3 // 10]


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


async def test_an_interrupted_turn_tells_the_stages_that_it_came_through(sophia: Sophia) -> None:
    sophia.engines.synthesis.hold = asyncio.Event()
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        await asyncio.wait_for(sophia.engines.synthesis.asked.wait(), 30)
        await client.send(type="cancel")
        await client.until("interrupted")
    metrics, interrupted = client.events[-2:]
    assert (metrics["type"], metrics["turn"], interrupted["turn"]) == ("turn.metrics", 1, 1)
    assert list(metrics["stages"]) == ["llm_first_token", "first_clause", "reply_audio"]
    assert metrics["stages"]["reply_audio"] == 0


async def test_the_stages_are_told_once_where_the_end_of_a_reply_is_not_heard(sophia: Sophia) -> None:
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        await client.until("reply.done")
        await client.send(type="cancel")
        await client.until("interrupted")
    assert len(client.of("turn.metrics")) == 1


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
        await asyncio.wait_for(engines.nova.cancelled.wait(), 30)
        await asyncio.wait_for(engines.aurora.cancelled.wait(), 30)


async def test_a_synthesis_under_way_is_cancelled(sophia: Sophia) -> None:
    engines = sophia.engines
    engines.synthesis.hold = asyncio.Event()
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        await client.until("reply.text")
        await asyncio.wait_for(engines.synthesis.asked.wait(), 30)
        await client.send(type="cancel")
        await client.until("interrupted")
        await asyncio.wait_for(engines.synthesis.cancelled.wait(), 30)


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


async def test_a_lone_word_that_lasts_like_one_is_believed(sophia: Sophia, speech: bytes) -> None:
    async with sophia.session() as client:
        await speaking(sophia, client)
        await client.say(speech[: RATE * 2 * 8 // 10])
        await client.until("reply.paused")
        sophia.engines.recognition.interim("stop", stability=0.0)
        await client.until("interrupted")


async def test_a_cough_that_is_taken_for_a_word_is_no_interruption(sophia: Sophia, speech: bytes) -> None:
    async with sophia.session() as client:
        await speaking(sophia, client)
        await client.say(short(speech))
        await client.until("reply.paused")
        for word in ("to", "do", "to"):
            sophia.engines.recognition.interim(word, stability=0.0)
        sophia.engines.recognition.final("to", confidence=0.05)
        await client.until("reply.resumed")
    assert not client.of("interrupted")
    assert len(sophia.engines.nova.asked) == 1


async def test_a_word_that_is_doubted_interrupts_once_it_is_sure(sophia: Sophia, speech: bytes) -> None:
    async with sophia.session() as client:
        await speaking(sophia, client)
        await client.say(short(speech))
        await client.until("reply.paused")
        sophia.engines.recognition.interim("stop", stability=0.1)
        await client.until("transcript.partial")
        sophia.engines.recognition.final("Stop.")
        await client.until("interrupted")


@pytest.mark.parametrize("said", [(("stop", 0.1), ("Stop", 0.1)), (("stop it", 0.7),)])
async def test_words_that_are_said_again_or_sure_interrupt_at_once(
    sophia: Sophia, speech: bytes, said: tuple[tuple[str, float], ...]
) -> None:
    async with sophia.session() as client:
        await speaking(sophia, client)
        await client.say(short(speech))
        await client.until("reply.paused")
        for text, stability in said:
            sophia.engines.recognition.interim(text, stability=stability)
        await client.until("interrupted")


@pytest.mark.parametrize(("confidence", "end"), [(0.02, "reply.resumed"), (0.4, "interrupted")])
async def test_the_shorter_the_speech_the_surer_its_final_has_to_be(
    sophia: Sophia, speech: bytes, confidence: float, end: str
) -> None:
    async with sophia.session() as client:
        await speaking(sophia, client)
        await client.say(short(speech))
        await client.until("reply.paused")
        sophia.engines.recognition.final("none of it", confidence=confidence)
        await client.until(end)


async def test_a_recogniser_that_tells_no_confidence_is_believed(sophia: Sophia, speech: bytes) -> None:
    async with sophia.session() as client:
        await speaking(sophia, client)
        await client.say(speech[: RATE * 2 * 3 // 10])
        await client.until("reply.paused")
        sophia.engines.recognition.final("stop", confidence=0.0)
        await client.until("interrupted")


async def test_a_murmur_is_no_interruption_whatever_word_riva_is_sure_of(sophia: Sophia) -> None:
    async with sophia.session() as client:
        await speaking(sophia, client)
        await client.say(said("Uh-huh."))
        await client.until("reply.paused")
        sophia.engines.recognition.interim("who", stability=0.9)
        sophia.engines.recognition.final("Who?", confidence=0.98)
        await client.until("reply.resumed")
    assert not client.of("interrupted")


async def test_a_murmur_is_none_either_where_the_vad_heard_nothing(sophia: Sophia) -> None:
    """One sound held, of which the recogniser makes a word and the detector makes nothing."""
    tone = 3000 * np.sin(np.arange(RATE * 4 // 10) * (2 * np.pi * 800 / RATE))
    async with sophia.session() as client:
        await quiet(client, 0.5)
        await sophia.engines.recognition.opened()
        await speaking(sophia, client)
        await client.say(tone.astype("<i2").tobytes())
        await quiet(client, 0.1)
        await sophia.engines.recognition.has_received(0.9)
        sophia.engines.recognition.final("Who?", confidence=0.98)
        await client.until("transcript.final")
        await client.until("reply.done")
    assert not client.of("reply.paused")
    assert not client.of("interrupted")


async def test_a_murmur_whose_final_comes_behind_the_reply_is_no_question(sophia: Sophia) -> None:
    async with sophia.session() as client:
        await speaking(sophia, client)
        await client.say(said("Uh-huh."))
        await client.until("reply.paused")
        await client.until("reply.resumed")
        await client.until("reply.done")
        await client.send(type="playback", played_ms=1e6)  # it is heard to its end
        sophia.engines.recognition.final("Who?", confidence=0.98)
        await client.until("transcript.final")
        sophia.engines.recognition.final(
            "and now", confidence=0.3
        )  # whispered: no reply is there to doubt it
        await client.until("reply.done")
    assert len(sophia.engines.nova.asked) == 2


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


async def test_words_that_nobody_was_heard_to_say_must_be_sure(sophia: Sophia) -> None:
    async with sophia.session() as client:
        await quiet(client, 0.1)
        await sophia.engines.recognition.opened()
        await speaking(sophia, client)
        sophia.engines.recognition.final("to do", confidence=0.3)
        await client.until("transcript.final")
        sophia.engines.recognition.final("stop it")
        await client.until("interrupted")
    kinds = [event["type"] for event in client.events]
    assert kinds[: kinds.index("interrupted")].count("transcript.final") == 2


async def test_speech_without_words_closes_its_own_turn(sophia: Sophia, speech: bytes) -> None:
    async with sophia.session() as client:
        await client.say(speech[: RATE * 2 * 3 // 10])
        await client.until("speech.started")
        await quiet(client, 1.0)
        await client.until("speech.stopped")
        await client.send(type="text", text="hello")
        await client.until("reply.done")


async def test_a_microphone_that_falls_silent_in_a_word_holds_no_reply_for_ever(
    engines: Scripted, speech: bytes
) -> None:
    async with (
        served(engines, interrupt_after_ms=600, resume_after_ms=100) as sophia,
        sophia.session() as client,
    ):
        engines.nova.answer = LONG[:4]
        await client.send(type="text", text="tell me a story")
        await client.until("audio")
        await client.say(speech[: RATE * 2 * 3 // 10])
        await client.until("reply.paused")  # and nothing more comes from the microphone
        await client.until("reply.resumed")
        await client.until("reply.done")


async def test_one_cough_after_another_holds_no_reply_for_ever(engines: Scripted, speech: bytes) -> None:
    cough = speech[: RATE * 2 * 4 // 10] + bytes(RATE * 2 * 4 // 10)
    patient = {"interrupt_after_ms": 800, "resume_after_ms": 1500}
    async with served(engines, **patient) as sophia, sophia.session() as client:
        await speaking(sophia, client)

        async def keep_coughing() -> None:
            while True:
                await client.say(cough)
                await asyncio.sleep(0.5)

        coughing = asyncio.create_task(keep_coughing())
        await client.until("reply.paused")
        await client.until("reply.resumed")
        coughing.cancel()


async def test_the_quiet_behind_a_cough_makes_it_no_lasting_speech(engines: Scripted, speech: bytes) -> None:
    async with served(engines, interrupt_after_ms=500) as sophia, sophia.session() as client:
        await speaking(sophia, client)
        await client.say(speech[: RATE * 2 * 4 // 10])
        await quiet(client, 1.0)
        await client.until("reply.resumed")
    assert not client.of("interrupted")


async def test_a_crowd_in_the_room_does_not_hold_the_answer_back(sophia: Sophia, crowd: bytes) -> None:
    """The question was heard, so its answer is spoken, though the room never falls quiet."""
    sophia.engines.nova.answer = LONG[:4]
    async with sophia.session() as client:
        await client.say(crowd[: RATE * 2])
        await client.until("speech.started")
        sophia.engines.recognition.final("tell me a story")
        await client.until("reply.started")
        await client.say(crowd[RATE * 2 :])
        await client.until("turn.metrics")
    assert not client.of("reply.paused")
    assert not client.of("interrupted")


@pytest.mark.parametrize(
    ("said", "language"), [("Mhm?", "en-US"), ("Uh-huh!", "en-US"), ("Aha.", "en-US"), ("\u00c4hm.", "DE-de")]
)
async def test_a_backchannel_is_one_however_it_is_written(
    sophia: Sophia, speech: bytes, said: str, language: str
) -> None:
    async with sophia.session(language=language) as client:
        await speaking(sophia, client)
        await client.say(speech[: RATE * 2 * 3 // 10])
        await client.until("reply.paused")
        sophia.engines.recognition.final(said)
        await client.until("reply.resumed")


async def test_a_pause_never_comes_before_its_reply(sophia: Sophia, speech: bytes) -> None:
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        await client.say(speech)
        await client.until("reply.paused")
    kinds = [event["type"] for event in client.events]
    assert kinds.index("reply.started") < kinds.index("reply.paused")


async def test_every_turn_that_ends_has_begun(sophia: Sophia) -> None:
    async with sophia.session() as client:
        for _ in range(10):
            await client.send(type="text", text="hello")
        await client.send(type="cancel")
        for _ in range(10):
            await client.until("interrupted")
    assert [event["turn"] for event in client.of("reply.started")] == list(range(1, 11))


async def test_a_turn_cancelled_before_its_words_leaves_no_old_sound_to_hear_again(
    sophia: Sophia, speech: bytes
) -> None:
    ears = sophia.engines.recognition
    async with sophia.session() as client:
        await client.say(speech + bytes(RATE * 2 // 2))
        await client.until("speech.stopped")
        await client.send(type="cancel")
        await asyncio.sleep(0.6)  # by now no words belong to that speech
        await quiet(client, 3.0)
        await ears.has_received(3.0)
        ears.fail(grpc.StatusCode.UNAVAILABLE)
        await client.until("error")
        await ears.opened()
        await ears.opened()
        await ears.has_received(0.1)
        assert len(ears.received[1]) < RATE * 2


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


async def test_who_watches_elsewhere_is_told_where_the_sound_is(sophia: Sophia) -> None:
    async with sophia.session(animation=True) as client:
        await speaking(sophia, client)
        await client.until("animation")
        await client.send(type="cancel")
        await client.until("interrupted")
        await asyncio.wait_for(sophia.engines.aurora.unfollowed.wait(), 30)
    first = sophia.engines.aurora.positions[0]
    assert (first.turn, first.paused, first.ended) == (1, False, False)
    assert first.played_ms < 200


async def test_who_watches_elsewhere_is_told_when_all_was_heard(sophia: Sophia) -> None:
    sophia.engines.nova.answer = ["Yes."]
    async with sophia.session(animation=True) as client:
        await client.send(type="text", text="hello")
        await client.until("turn.metrics")
        await asyncio.wait_for(sophia.engines.aurora.followed.wait(), 30)
    assert not sophia.engines.aurora.unfollowed.is_set()
