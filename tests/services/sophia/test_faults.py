"""A fault in one peer costs at most its own turn; the session lives and says so."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from shared.audio import RATE, read_wav
from tests.conftest import ROOT
from tests.services.sophia.conftest import Sophia, served
from tests.services.sophia.engines import Scripted


async def test_nova_breaking_in_mid_reply_ends_that_turn_and_the_next_one_works(sophia: Sophia) -> None:
    sophia.engines.nova.answer = ["Well, hello there. ", "And more"]
    sophia.engines.nova.fail_after = 1
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        error = await client.until("error")
        assert (error["code"], error["retryable"], error["turn"]) == ("peer_unavailable", True, 1)
        sophia.engines.nova.fail_after = None
        await client.send(type="text", text="again")
        await client.until("reply.done")
    after = client.events[client.events.index(error) + 1 :]
    assert all(event.get("turn", 2) == 2 for event in after)


async def test_an_empty_answer_is_an_error(sophia: Sophia) -> None:
    sophia.engines.nova.answer = []
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        assert (await client.until("error"))["code"] == "peer_protocol"


async def test_the_voice_does_not_need_the_face(sophia: Sophia) -> None:
    sophia.engines.aurora.fail = True
    async with sophia.session(animation=True) as client:
        await client.send(type="text", text="hello")
        await client.until("reply.done")
    error = client.of("error")[0]
    assert (error["code"], error["retryable"]) == ("peer_unavailable", True)
    assert "turn" not in error
    assert client.of("audio")


async def test_a_tts_that_hangs_is_given_up(engines: Scripted) -> None:
    engines.synthesis.hold = asyncio.Event()
    async with served(engines, speech_deadline_s=0.2) as sophia, sophia.session() as client:
        await client.send(type="text", text="hello")
        error = await client.until("error")
        assert (error["code"], error["retryable"], error["turn"]) == ("peer_timeout", True, 1)


async def test_nova_that_hangs_is_given_up(engines: Scripted) -> None:
    engines.nova.answer = []
    engines.nova.endless = True
    async with served(engines, first_token_deadline_s=2) as sophia, sophia.session() as client:
        await client.send(type="text", text="hello")
        assert (await client.until("error"))["code"] == "peer_timeout"
        await asyncio.wait_for(engines.nova.cancelled.wait(), 30)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
async def test_a_broken_recognition_is_told_once_and_taken_up_again(
    sophia: Sophia, code: grpc.StatusCode
) -> None:
    ears = sophia.engines.recognition
    async with sophia.session() as client:
        await client.say(b"\x01\x00" * (RATE // 4))
        await ears.opened()
        ears.fail(code)
        assert (await client.until("error"))["retryable"]
        await ears.opened()
        ears.final("hello again")
        await client.until("reply.done")
    assert ears.streams == 2
    assert len(ears.received[1]) >= RATE // 4 * 2, "the new stream hears the utterance from its beginning"
    assert len(client.of("error")) == 1


async def test_whatever_is_said_while_recognition_is_away_is_answered_by_its_fault(sophia: Sophia) -> None:
    question = read_wav(ROOT / "samples" / "question.wav") + bytes(RATE * 2)
    sophia.engines.recognition.refuse = (grpc.StatusCode.UNAVAILABLE, "gone")
    async with sophia.session() as client:
        await client.say(bytes(3200))
        await client.until("error")  # before anything is said
        for _ in range(2):
            await client.say(question)
            assert (await client.until("error"))["retryable"]
    assert len(client.of("error")) == 3


async def test_a_refused_language_is_named_and_typed_turns_still_work(sophia: Sophia) -> None:
    refusal = "Error: Unavailable model requested given these parameters: language_code=xx-XX"
    sophia.engines.recognition.refuse = (grpc.StatusCode.INVALID_ARGUMENT, refusal)
    async with sophia.session(language="xx-XX") as client:
        await client.say(bytes(3200))
        error = await client.until("error")
        assert (error["code"], error["retryable"]) == ("peer_refused", False)
        assert "language_code=xx-XX" in error["message"]
        await client.say(bytes(32000))
        await client.send(type="text", text="hello")
        await client.until("reply.done")
    assert len(client.of("error")) == 1


async def test_a_peer_that_is_not_there_is_an_error_and_not_a_hang(engines: Scripted) -> None:
    engines.addresses["nova"] = "127.0.0.1:9"
    async with served(engines) as sophia, sophia.session() as client:
        await client.send(type="text", text="hello")
        error = await client.until("error")
        assert (error["code"], error["retryable"]) == ("peer_unavailable", True)
