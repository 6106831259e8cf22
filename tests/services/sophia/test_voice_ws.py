"""The contract of /sophia/voice, over a real WebSocket."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from services.sophia.events import Animation, Error
from services.sophia.metrics import SESSIONS
from services.sophia.voice_messages import encode, parse
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


async def test_a_client_is_back_before_its_broken_connection_was_noticed(sophia: Sophia) -> None:
    async with sophia.session() as first:
        await first.send(type="text", text="one")
        await first.until("reply.done")
        await first.send(type="playback", played_ms=1e6)
        async with sophia.session(resume=first.events[0]["resume_token"]) as second:
            with pytest.raises(ConnectionClosed) as closed:
                await first.until("never")
            assert closed.value.rcvd is not None
            assert "elsewhere" in closed.value.rcvd.reason
            await second.send(type="text", text="two")
            await second.until("reply.done")
    assert sophia.engines.nova.asked[-1] == [("user", "one"), ("assistant", "Hello there."), ("user", "two")]


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


@pytest.mark.parametrize(
    "message",
    [
        "[" * 100_000,
        '{"type":' * 50_000,
        '{"type": "' + "x" * 900_000 + '"}',
        '{"type": "text", "text": "' + "x" * 900_000 + '"}',
        '{"type": "session.start", "system": "' + "x" * 900_000 + '"}',
        '{"type": "session.start", "language": "en' + "-abcdefgh" * 90_000 + '"}',
        '{"type": "session.start", "voice": "' + "x" * 900_000 + '"}',
        '{"type": "text", "text": "\\ud800"}',
        '{"type": "text", "text": "' + "\\u0000" * 9 + '"',
        "",
        "null",
    ],
    ids=lambda message: message[:24] or "nothing",
)
async def test_a_monstrous_message_is_answered_in_a_few_words(sophia: Sophia, message: str) -> None:
    async with connect(f"ws://{sophia.address}/sophia/voice", proxy=None) as socket:
        client = Client(socket)
        await socket.send(message)
        error = await client.until("error")
        assert error["code"] == "bad_request"
        assert len(error["message"]) < 300
        await client.send(type="text", text="hello")
        await client.until("reply.done")


async def test_sound_faster_than_time_leaves_the_others_their_turn(
    sophia: Sophia, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that one client cannot have the event loop for itself: TCP tells it to wait."""
    monkeypatch.setattr("services.sophia.connection.BURST_S", 1.0)
    async with sophia.session() as client, sophia.session() as other:
        await client.say(bytes(640))
        await sophia.engines.recognition.has_received(0.02)
        flood = asyncio.create_task(client.socket.send([bytes(32000)] * 1000))
        await other.send(type="text", text="hello")
        await other.until("reply.done")
        flood.cancel()
        await asyncio.wait([flood])
        client.socket.transport.abort()


async def test_single_bytes_make_whole_samples(sophia: Sophia) -> None:
    async with sophia.session() as client:
        for _ in range(1001):
            await client.socket.send(b"\x01")
        await client.socket.send(b"")
        await sophia.engines.recognition.has_received(0.03)
        sophia.engines.recognition.final("hello")
        await client.until("reply.done")


async def test_a_session_that_fails_inside_is_closed_and_may_be_resumed(
    sophia: Sophia, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What must not happen, and so needs a fault of our own making."""
    async with sophia.session() as client:
        token = client.events[0]["resume_token"]
        await client.send(type="text", text="one")
        await client.until("reply.done")
        await client.send(type="playback", played_ms=1e6)
        await client.send(type="playback", played_ms=1e6)
        monkeypatch.setattr("services.sophia.session.Session.cancel", None)
        await client.send(type="cancel")
        with pytest.raises(ConnectionClosed) as closed:
            await client.until("never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
    async with sophia.session(resume=token) as client:
        await client.send(type="text", text="two")
        await client.until("reply.done")
    assert sophia.engines.nova.asked[-1][:2] == [("user", "one"), ("assistant", "Hello there.")]


async def test_two_hundred_sessions_leave_nothing_behind(sophia: Sophia) -> None:
    engines = sophia.engines
    before = asyncio.all_tasks()

    async def visit(number: int) -> None:
        async with sophia.session(animation=True) as client:
            await client.send(type="text", text="hello")
            await client.say(bytes(640))
            await client.until(("reply.started", "reply.text", "audio", "animation")[number % 4])
            if number % 3 == 0:
                client.socket.transport.abort()
            elif number % 3 == 1:
                await client.send(type="session.end")

    for start in range(0, 200, 20):
        await asyncio.gather(*(visit(number) for number in range(start, start + 20)))
    async with asyncio.timeout(30):
        while (  # noqa: ASYNC110 - nobody is told
            len(asyncio.all_tasks()) > len(before) + 5 or SESSIONS._value.get() or engines.recognition.open
        ):
            await asyncio.sleep(0.05)
