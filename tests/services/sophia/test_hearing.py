"""A session's ear outlives Riva's restarts: nothing is heard twice, nothing is asked in a hurry."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from riva.client.proto import riva_asr_pb2_grpc as asr_grpc

from services.sophia.hearing import Heard, Hearing
from services.sophia.riva import Listening, Riva
from shared.audio import RATE, read_wav
from shared.channels import Endpoint
from shared.errors import PeerError, PeerTimeout
from tests.conftest import ROOT
from tests.fixtures.speech import RivaServer
from tests.services.sophia.conftest import Sophia
from tests.services.sophia.engines import Scripted, ScriptedRecognition


def marked(seconds: float, mark: int) -> bytes:
    """Sound too quiet for the VAD, of one sample over and over."""
    return mark.to_bytes(2, "little") * int(RATE * seconds)


async def test_every_fault_is_told_once_and_the_next_one_again(sophia: Sophia) -> None:
    ears = sophia.engines.recognition
    async with sophia.session() as client:
        for count in (1, 2, 3):
            await client.say(marked(0.1, 1))
            await ears.opened()
            ears.interim("mhm")
            await client.until("transcript.partial")
            ears.fail(grpc.StatusCode.UNAVAILABLE)
            await client.until("error")
            assert len(client.of("error")) == count


async def test_a_fault_of_a_stream_that_worked_in_silence_is_a_new_one(
    sophia: Sophia, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.sophia.hearing.WORKS_S", 0.0)
    ears = sophia.engines.recognition
    async with sophia.session() as client:
        for count in (1, 2):
            await client.say(marked(0.1, 1))
            await ears.opened()
            ears.fail(grpc.StatusCode.UNAVAILABLE)
            await client.until("error")
            assert len(client.of("error")) == count


async def test_a_riva_that_ends_every_stream_at_once_is_not_stormed(sophia: Sophia) -> None:
    ears = sophia.engines.recognition
    ears.ends_at_once = True
    async with sophia.session() as client:
        await client.say(marked(1, 1))
        await ears.opened()
        await asyncio.sleep(0.5)  # what is counted is what happens in a while
        assert ears.streams < 5
        ears.ends_at_once = False
        await client.say(marked(0.1, 1))
        await ears.opened()
        ears.final("hello")
        await client.until("reply.done")
    assert not client.of("error")


async def test_what_has_its_final_is_not_heard_again(sophia: Sophia) -> None:
    ears = sophia.engines.recognition
    async with sophia.session() as client:
        await client.say(marked(0.5, 1))
        await ears.opened()
        await ears.has_received(0.5)
        ears.final("first")
        await client.until("transcript.final")
        ears.end()
        await client.say(marked(0.5, 2))
        await ears.opened()
        ears.final("second")
        await client.until("turn.metrics")
        ears.final("third")
        await client.until("turn.metrics")
    assert b"\x01\x00" not in ears.received[1]


async def test_the_times_of_words_are_those_of_the_session(sophia: Sophia) -> None:
    ears = sophia.engines.recognition
    async with sophia.session() as client:
        await client.say(marked(1.0, 1))
        await ears.opened()
        await ears.has_received(1.0)
        ears.final("one", ("one", 400, 600))
        assert (await client.until("transcript.final"))["words"][0]["start_ms"] == 400
        ears.end()
        await client.say(marked(0.5, 2))
        await ears.opened()
        ears.final("two", ("two", 100, 200))
        word = (await client.until("transcript.final"))["words"][0]
    assert (word["start_ms"], word["end_ms"]) == (1100, 1200)


async def test_a_riva_that_takes_no_audio_is_given_up_and_tried_again(
    engines: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.sophia.hearing.WRITE_DEADLINE_S", 0.3)
    ears = engines.recognition
    ears.reads = False
    faults: asyncio.Queue[PeerError] = asyncio.Queue()
    heard: asyncio.Queue[Heard] = asyncio.Queue()
    riva = Riva(Endpoint("riva", engines.addresses["riva"]), 5)
    hearing = Hearing(riva, Listening(), heard.put_nowait, faults.put_nowait, 60)
    running = asyncio.create_task(hearing.run())
    async with asyncio.timeout(40):
        hearing.feed(marked(1, 1), in_speech=True)
        await ears.opened()
        while faults.empty():  # gRPC holds some 4 MB for a server that does not read
            hearing.feed(marked(1, 1), in_speech=True)
            await asyncio.sleep(0.002)
        assert isinstance(faults.get_nowait(), PeerTimeout)
        monkeypatch.setattr("services.sophia.hearing.WRITE_DEADLINE_S", 30.0)  # for all of that at once
        ears.reads = True
        hearing.feed(marked(1, 1), in_speech=True)
        await ears.opened()
        while ears.open > 1:  # noqa: ASYNC110 - what the old stream would take of the script is lost
            await asyncio.sleep(0.01)
        ears.final("hello")
        assert (await heard.get()).text == "hello"
    running.cancel()
    await asyncio.wait([running])
    await riva.close()


async def test_a_stream_refused_in_the_middle_is_opened_again(sophia: Sophia) -> None:
    """As by a limit on a stream's length, which says nothing about the next one."""
    ears = sophia.engines.recognition
    async with sophia.session() as client:
        await client.say(marked(0.1, 1))
        await ears.opened()
        ears.final("one")
        await client.until("reply.done")
        ears.fail(grpc.StatusCode.OUT_OF_RANGE)
        await client.until("error")
        await client.say(marked(0.1, 1))
        await ears.opened()
        ears.final("two")
        await client.until("reply.done")


async def test_results_without_words_or_alternatives_are_nothing(sophia: Sophia) -> None:
    ears = sophia.engines.recognition
    async with sophia.session() as client:
        await client.say(marked(0.1, 1))
        await ears.opened()
        ears.nothing()
        ears.final("   ")
        ears.final("hello", ("hello", -50, -10))
        await client.until("reply.done")
    assert [event["text"] for event in client.of("transcript.final")] == ["hello"]
    assert client.of("transcript.final")[0]["words"][0]["start_ms"] >= 0


async def test_a_cut_stream_that_riva_does_not_end_is_given_up_and_heard_again(
    engines: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.sophia.hearing.END_DEADLINE_S", 0.05)
    ears = engines.recognition
    faults: asyncio.Queue[PeerError] = asyncio.Queue()
    heard: asyncio.Queue[Heard] = asyncio.Queue()
    riva = Riva(Endpoint("riva", engines.addresses["riva"]), 5)
    hearing = Hearing(riva, Listening(), heard.put_nowait, faults.put_nowait, 60)
    running = asyncio.create_task(hearing.run())
    async with asyncio.timeout(20):
        hearing.feed(marked(1, 1), in_speech=True)
        await ears.opened()
        await ears.has_received(0.02)
        hearing.cut()
        hearing.feed(marked(2, 1), in_speech=True)
        assert isinstance(await faults.get(), PeerTimeout)
        await ears.opened()
        ears.final("hello")
        assert (await heard.get()).text == "hello"
    running.cancel()
    await asyncio.wait([running])
    await riva.close()


async def test_a_stream_that_idles_is_ended_and_what_follows_is_heard(
    sophia: Sophia, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.sophia.hearing.IDLE_S", 0.05)
    ears = sophia.engines.recognition
    async with sophia.session() as client:
        await client.say(marked(0.5, 1))
        await ears.opened()
        await asyncio.wait_for(ears.ended.wait(), 30)
        ears.final("one")
        ears.end()
        await client.until("transcript.final")
        await client.say(marked(0.5, 2))
        await ears.opened()
        ears.final("two")
        await client.until("reply.done")
    assert not client.of("error")
    assert len(ears.received[0]) == RATE, "no silence of ours"
    assert b"\x01\x00" not in ears.received[1]


async def test_a_long_utterance_outlives_a_riva_that_is_killed_in_the_middle_of_it() -> None:
    """And is heard again from its beginning, by the one that comes in its place."""
    faults: asyncio.Queue[PeerError] = asyncio.Queue()
    heard: asyncio.Queue[Heard] = asyncio.Queue()

    async def start(address: str) -> tuple[ScriptedRecognition, grpc.aio.Server, str]:
        server, ears = grpc.aio.server(), ScriptedRecognition()
        asr_grpc.add_RivaSpeechRecognitionServicer_to_server(ears, server)
        port = server.add_insecure_port(address)
        await server.start()
        return ears, server, f"127.0.0.1:{port}"

    ears, server, address = await start("127.0.0.1:0")
    riva = Riva(Endpoint("riva", address), 5)
    hearing = Hearing(riva, Listening(), heard.put_nowait, faults.put_nowait, 60)
    running = asyncio.create_task(hearing.run())
    async with asyncio.timeout(40):
        hearing.feed(marked(1, 1), in_speech=True)
        for mark in range(2, 21):
            hearing.feed(marked(1, mark), in_speech=True)
        await ears.opened()
        await ears.has_received(20)
        ears.interim("a long story")
        assert (await heard.get()).text == "a long story"
        await server.stop(None)
        await faults.get()
        hearing.feed(marked(1, 21), in_speech=True)
        ears, server, _ = await start(address)
        await ears.opened()
        await ears.has_received(21)
        ears.final("a long story and its end", ("a", 300, 400))
        final = await heard.get()
    assert (final.text, final.is_final) == ("a long story and its end", True)
    assert final.words[0].start_ms == 300
    assert ears.received[-1] == b"".join(marked(1, mark) for mark in range(1, 22))
    assert faults.empty()
    running.cancel()
    await asyncio.wait([running])
    await riva.close()
    await server.stop(None)


async def test_a_cut_utterance_is_told_to_its_end_by_the_embedded_engine(riva: RivaServer) -> None:
    """With no quiet behind it, and what follows is heard by a stream of its own."""
    question = read_wav(ROOT / "samples" / "question.wav")
    heard: list[Heard] = []
    peer = Riva(Endpoint("riva", riva.uri, use_tls=True, ca=riva.ca), 20)
    hearing = Hearing(peer, Listening(), heard.append, pytest.fail, 60)
    running = asyncio.create_task(hearing.run())
    texts = []
    async with asyncio.timeout(60):
        for _ in range(2):
            hearing.feed(question, in_speech=True)
            await hearing.cut()
            texts.append(" ".join(one.text for one in heard if one.is_final))
            heard.clear()
    assert texts[0]
    assert texts[1] == texts[0]
    running.cancel()
    await asyncio.wait([running])
    await peer.close()
