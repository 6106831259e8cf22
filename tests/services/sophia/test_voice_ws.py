"""The contract of /sophia/voice, over a real WebSocket."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from services.sophia.events import Animation, Error
from services.sophia.voice_ws import encode, parse
from shared.errors import InputError
from tests.services.sophia.conftest import Client, Sophia, served
from tests.services.sophia.engines import WORD_MS, Scripted


async def test_a_typed_turn_is_answered_in_text_sound_and_face(sophia: Sophia) -> None:
    async with sophia.session(animation=True) as client:
        await client.send(type="text", text="hello")
        metrics = await client.until("turn.metrics")
    kinds = [event["type"] for event in client.events]
    assert kinds[:2] == ["session.started", "reply.started"]
    assert "".join(event["text"] for event in client.of("reply.text")) == "Hello there."
    assert client.of("reply.done")[0]["text"] == "Hello there."
    seconds = sum(len(event["pcm"]) for event in client.of("audio")) / 32000
    assert seconds == pytest.approx(2 * WORD_MS / 1000)
    assert len(client.of("animation")) == pytest.approx(seconds * 30, abs=1)
    assert client.of("animation.header")[0]["names"] == ["JawOpen", "MouthClose"]
    assert {"llm_first_token", "first_clause", "tts_first_audio", "first_audio_sent", "reply_audio"} == set(
        metrics["stages"]
    )


async def test_a_spoken_turn_is_transcribed_and_answered(sophia: Sophia) -> None:
    async with sophia.session() as client:
        await client.say(bytes(6400))
        await sophia.engines.recognition.opened()
        sophia.engines.recognition.interim("what is")
        sophia.engines.recognition.final("what is up")
        await client.until("reply.done")
    assert [event["text"] for event in client.of("transcript.partial")] == ["what is"]
    assert client.of("transcript.final")[0]["text"] == "what is up"
    assert client.of("transcript.final")[0]["confidence"] == 0.9
    assert sophia.engines.nova.asked == [[("user", "what is up")]]


async def test_the_system_prompt_and_the_history_reach_nova(sophia: Sophia) -> None:
    async with sophia.session(system="Be brief.") as client:
        await client.send(type="text", text="one")
        await client.until("turn.metrics")
        await asyncio.sleep(0.6)  # the listener hears the end of the reply
        await client.send(type="text", text="two")
        await client.until("turn.metrics")
    assert sophia.engines.nova.asked[1] == [
        ("system", "Be brief."),
        ("user", "one"),
        ("assistant", "Hello there."),
        ("user", "two"),
    ]


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
async def test_the_reply_comes_at_the_rate_that_was_asked_for(sophia: Sophia, rate: int) -> None:
    async with sophia.session(output_sample_rate=rate) as client:
        await client.send(type="text", text="hello")
        await client.until("reply.done")
    assert sum(len(event["pcm"]) for event in client.of("audio")) / 2 / rate == pytest.approx(0.5)


async def test_microphone_audio_is_resampled_and_odd_bytes_are_carried(sophia: Sophia) -> None:
    async with sophia.session(sample_rate=48000) as client:
        for _ in range(10):
            await client.socket.send(bytes(9601))
        await sophia.engines.recognition.opened()
        sophia.engines.recognition.final("hi")
        await client.until("reply.done")
    received = len(sophia.engines.recognition.received[0])
    assert received % 2 == 0
    assert received == pytest.approx(96010 / 3, rel=0.1)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ("{}", "type"),
        ('{"type": "dance"}', "must be one of 'session.start'"),
        ('{"type": "text"}', "text"),
        ('{"type": "text", "text": "  "}', "needs some text"),
        ('{"type": "text", "text": 3}', "string"),
        ('{"type": "playback", "played_ms": -1}', "played_ms"),
        ('{"type": "playback", "played_ms": NaN}', "played_ms"),
        ('{"type": "session.start"}', "already"),
    ],
)
async def test_a_bad_message_is_answered_and_the_session_lives(
    sophia: Sophia, message: str, complaint: str
) -> None:
    async with sophia.session() as client:
        await client.socket.send(message)
        error = await client.until("error")
        assert error["code"] == "bad_request"
        assert complaint in error["message"]
        assert not error["retryable"]
        await client.send(type="text", text="hello")
        await client.until("reply.done")


@pytest.mark.parametrize(
    "start",
    [{"sample_rate": 1}, {"sample_rate": 10**9}, {"language": "not a language"}, {"resume": "forged"}],
)
async def test_a_bad_start_is_refused_and_a_good_one_follows(
    sophia: Sophia, start: dict[str, object]
) -> None:
    async with connect(f"ws://{sophia.address}/sophia/voice", proxy=None) as socket:
        client = Client(socket)
        await client.send(type="session.start", **start)
        assert (await client.until("error"))["code"] == "bad_request"
        await client.send(type="session.start")
        await client.until("session.started")


async def test_session_start_may_be_left_out(sophia: Sophia) -> None:
    async with connect(f"ws://{sophia.address}/sophia/voice", proxy=None) as socket:
        client = Client(socket)
        await client.send(type="text", text="hello")
        started = await client.until("session.started")
        assert started["output_sample_rate"] == 16000
        await client.until("reply.done")


async def test_session_end_closes_normally(sophia: Sophia) -> None:
    async with sophia.session() as client:
        await client.send(type="session.end")
        with pytest.raises(ConnectionClosed) as closed:
            await client.until("never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000


async def test_a_broken_session_is_resumed_with_its_history_once(sophia: Sophia) -> None:
    async with sophia.session() as client:
        token = client.events[0]["resume_token"]
        await client.send(type="text", text="one")
        await client.until("turn.metrics")
        await asyncio.sleep(0.6)  # the listener hears the end of the reply
        client.socket.transport.abort()
    async with sophia.session(resume=token) as client:
        await client.send(type="text", text="two")
        await client.until("reply.done")
    assert sophia.engines.nova.asked[-1][:2] == [("user", "one"), ("assistant", "Hello there.")]


async def test_a_session_too_many_is_refused_with_a_reason(engines: Scripted) -> None:
    async with (
        served(engines, max_sessions=1) as sophia,
        sophia.session(),
        connect(f"ws://{sophia.address}/sophia/voice", proxy=None) as socket,
    ):
        error = await Client(socket).until("error")
        assert (error["code"], error["retryable"]) == ("overloaded", True)


def test_no_message_repeats_what_the_client_sent() -> None:
    with pytest.raises(InputError) as caught:
        parse('{"type": "text", "text": {"secret": "hunter2"}}')
    assert "hunter2" not in str(caught.value)


def test_events_are_json_with_a_type_and_no_empty_turn() -> None:
    assert encode(Animation(1, 33.3, (0.5,))) == '{"type":"animation","turn":1,"t_ms":33.3,"weights":[0.5]}'
    assert '"turn"' not in encode(Error("x", "y", True))


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null"])
async def test_a_page_of_another_origin_cannot_open_a_session(sophia: Sophia, origin: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://{sophia.address}/sophia/voice", proxy=None, origin=Origin(origin)):
            pass
    assert caught.value.response.status_code == 403


async def test_our_own_page_and_an_allowed_one_can(engines: Scripted) -> None:
    async with served(engines, allowed_origins="https://avatar.example") as sophia:
        for origin in (f"http://{sophia.address}", "https://avatar.example"):
            url = f"ws://{sophia.address}/sophia/voice"
            async with connect(url, proxy=None, origin=Origin(origin)) as socket:
                await Client(socket).send(type="session.start")
                await Client(socket).until("session.started")
