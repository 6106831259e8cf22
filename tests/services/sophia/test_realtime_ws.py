"""/v1/realtime, spoken to by OpenAI's own client, unmodified, over the scripted engines."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import orjson
import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from services.sophia.connection import CLOSE_IDLE, CLOSE_TOO_LONG
from services.sophia.events import TranscriptFinal, TranscriptPartial
from services.sophia.realtime_conversation import Dictation
from services.sophia.realtime_events import RATE, RefusedError, parse
from shared.audio import read_wav
from tests.conftest import ROOT
from tests.services.sophia.conftest import DEADLINE_S, Sophia, served
from tests.services.sophia.engines import WORD_MS, Scripted

LONG = [f" word{index}" for index in range(40)]
"""Ten seconds of reply in one clause."""


@dataclass
class Talk:
    """One realtime session, as a program that uses OpenAI's client sees it."""

    connection: AsyncRealtimeConnection
    events: list[Any] = field(default_factory=list)

    async def until(self, kind: str) -> Any:
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    event = await self.connection.recv()
                    self.events.append(event)
                    if event.type == kind:
                        return event
        except TimeoutError:
            seen = [event.type for event in self.events]
            raise AssertionError(f"no {kind} within {DEADLINE_S:g} s, but {seen}") from None

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]

    def kinds(self) -> list[str]:
        """What came, without repetitions."""
        kinds = [event.type for event in self.events]
        return [kind for index, kind in enumerate(kinds) if kind != kinds[index - 1] or not index]

    @property
    def sound_s(self) -> float:
        return sum(len(base64.b64decode(event.delta)) for event in self.of("response.output_audio.delta")) / (
            RATE * 2
        )

    async def update(self, **session: Any) -> Any:
        await self.connection.session.update(session={"type": "realtime", **session})
        return (await self.until("session.updated")).session

    async def type(self, text: str) -> None:
        await self.connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        )

    async def ask(self, text: str) -> None:
        await self.type(text)
        await self.connection.response.create()

    async def say(self, pcm: bytes) -> None:
        """24 kHz audio in pieces of 40 ms, as fast as it goes."""
        for start in range(0, len(pcm), 1920):
            audio = base64.b64encode(pcm[start : start + 1920]).decode()
            await self.connection.input_audio_buffer.append(audio=audio)


@asynccontextmanager
async def talk(sophia: Sophia) -> AsyncIterator[Talk]:
    async with (
        AsyncOpenAI(base_url=f"http://{sophia.address}/v1", api_key="any") as client,
        client.realtime.connect(model="gpt-realtime") as connection,
    ):
        session = Talk(connection)
        await session.until("session.created")
        yield session


@pytest.fixture(scope="session")
def speech() -> bytes:
    """Real-sounding speech without the quiet around it, 24 kHz."""
    pcm = read_wav(ROOT / "samples" / "question.wav", RATE)
    return pcm[RATE * 2 * 4 // 10 :]


def quiet(seconds: float) -> bytes:
    return bytes(int(RATE * seconds) * 2)


def raw(sophia: Sophia) -> connect:
    return connect(f"ws://{sophia.address}/v1/realtime", proxy=None)


def typed(content: str, more: str = "") -> str:
    item = '{"type": "message", "role": "user", "content": [' + content + "]}"
    return '{"type": "conversation.item.create", ' + more + '"item": ' + item + "}"


async def next_of(socket: ClientConnection, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            event: dict[str, Any] = orjson.loads(await socket.recv())
            if event["type"] == kind:
                return event


# Replies


async def test_a_typed_turn_is_answered_in_text_and_sound(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        await session.ask("hello")
        done = await session.until("response.done")
    assert session.kinds() == [
        "session.created",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    deltas = session.of("response.output_audio_transcript.delta")
    assert "".join(event.delta for event in deltas) == "Hello there."
    assert session.of("response.output_audio_transcript.done")[0].transcript == "Hello there."
    assert session.sound_s == pytest.approx(2 * WORD_MS / 1000)
    assert done.response.status == "completed"
    assert done.response.output[0].content[0].transcript == "Hello there."
    assert sophia.engines.nova.asked == [[("user", "hello")]]


async def test_ids_bind_the_events_of_a_response_together(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        await session.ask("hello")
        done = await session.until("response.done")
    of_response = [event for event in session.events if hasattr(event, "response_id")]
    assert {event.response_id for event in of_response} == {done.response.id}
    of_item = [event for event in of_response if hasattr(event, "item_id")]
    assert {event.item_id for event in of_item} == {done.response.output[0].id}
    ids = [event.event_id for event in session.events]
    assert len(set(ids)) == len(ids)
    typed, answer = session.of("conversation.item.added")
    assert answer.previous_item_id == typed.item.id


async def test_the_example_of_openais_readme_works(sophia: Sophia) -> None:
    """A reply that is read and not heard: no sound is made."""
    text = ""
    async with talk(sophia) as session:
        connection = session.connection
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await session.type("Say hello!")
        await connection.response.create()
        async for event in connection:
            if event.type == "response.output_text.delta":
                text += event.delta
            elif event.type == "response.output_text.done":
                assert event.text == text
            elif event.type == "response.done":
                break
            else:
                assert "audio" not in event.type
    assert text == "Hello there."
    assert not sophia.engines.synthesis.spoken


async def test_many_items_are_answered_at_once(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        await session.type("one")
        await session.connection.conversation.item.create(
            item={
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "I see."}],
            }
        )
        await session.ask("two")
        await session.until("response.done")
    assert sophia.engines.nova.asked == [[("user", "one"), ("assistant", "I see."), ("user", "two")]]


async def test_a_reply_that_was_sent_counts_as_heard(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        await session.ask("one")
        await session.until("response.done")
        await session.ask("two")
        await session.until("response.done")
    assert sophia.engines.nova.asked[1] == [("user", "one"), ("assistant", "Hello there."), ("user", "two")]


async def test_a_session_speaks_at_its_own_speed(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        assert (await session.update(audio={"output": {"speed": 1.25}})).audio.output.speed == 1.25
        await session.ask("hello")
        await session.until("response.done")
    assert sophia.engines.synthesis.spoken == ['<speak><prosody rate="125%">Hello there.</prosody></speak>']


async def test_a_response_may_have_instructions_of_its_own(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        await session.update(instructions="Be brief.")
        await session.type("one")
        own = {"instructions": "Be rude.", "output_modalities": ["text"]}
        await session.connection.response.create(response=own)
        first = await session.until("response.done")
        await session.ask("two")
        second = await session.until("response.done")
    assert [asked[0] for asked in sophia.engines.nova.asked] == [
        ("system", "Be rude."),
        ("system", "Be brief."),
    ]
    assert first.response.output_modalities == ["text"]
    assert second.response.output_modalities == ["audio"]


async def test_only_one_response_at_a_time(sophia: Sophia) -> None:
    sophia.engines.nova.answer = LONG
    async with talk(sophia) as session:
        await session.ask("tell me a story")
        await session.until("response.created")
        await session.connection.response.create(event_id="mine")
        error = (await session.until("error")).error
        assert error.code == "conversation_already_has_active_response"
        assert error.event_id == "mine"
        await session.until("response.output_audio.delta")


async def test_there_must_be_something_to_answer(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        await session.connection.response.create()
        assert "nothing to answer" in (await session.until("error")).error.message
        await session.ask("hello")
        await session.until("response.done")


async def test_a_reply_that_fails_is_told_so_and_the_session_lives(sophia: Sophia) -> None:
    sophia.engines.nova.fail_after = 1
    async with talk(sophia) as session:
        await session.ask("hello")
        failed = (await session.until("response.done")).response
        assert failed.status == "failed"
        assert failed.status_details.error.code == "peer_unavailable"
        sophia.engines.nova.fail_after = None
        await session.ask("hello again")
        assert (await session.until("response.done")).response.status == "completed"


# Interruption


async def test_a_cancelled_response_ends_for_good(sophia: Sophia) -> None:
    engines = sophia.engines
    engines.nova.answer = LONG
    engines.nova.endless = True
    async with talk(sophia) as session:
        await session.ask("tell me a story")
        first = (await session.until("response.created")).response
        await session.until("response.output_audio_transcript.delta")
        await session.connection.response.cancel(response_id=first.id)
        done = (await session.until("response.done")).response
        assert (done.id, done.status) == (first.id, "cancelled")
        assert done.status_details.reason == "client_cancelled"
        assert done.output[0].status == "incomplete"
        await asyncio.wait_for(engines.nova.cancelled.wait(), 30)
        engines.nova.answer, engines.nova.endless = ["All right."], False
        session.events.clear()
        await session.ask("stop it")
        await session.until("response.done")
    assert first.id not in {getattr(event, "response_id", "") for event in session.events}
    assert session.sound_s == pytest.approx(2 * WORD_MS / 1000)


async def test_nothing_to_cancel_is_an_error(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        await session.connection.response.cancel()
        assert (await session.until("error")).error.code == "response_cancel_not_active"
        await session.ask("hello")
        await session.until("response.created")
        await session.connection.response.cancel(response_id="resp_other")
        assert (await session.until("error")).error.code == "response_cancel_not_active"
        await session.until("response.done")


async def test_words_over_a_reply_end_it_and_are_answered(sophia: Sophia, speech: bytes) -> None:
    sophia.engines.nova.answer = LONG
    async with talk(sophia) as session:
        await session.ask("tell me a story")
        await session.until("response.output_audio.delta")
        await session.say(speech[: RATE * 2 // 2])
        started = await session.until("input_audio_buffer.speech_started")
        sophia.engines.recognition.interim("stop")
        first = (await session.until("response.done")).response
        assert first.status == "cancelled"
        assert first.status_details.reason == "turn_detected"
        sophia.engines.nova.answer = ["All right."]
        sophia.engines.recognition.final("stop it")
        completed = await session.until("conversation.item.input_audio_transcription.completed")
        session.events.clear()
        await session.until("response.done")
    assert completed.item_id == started.item_id
    assert completed.transcript == "stop it"
    assert first.id not in {getattr(event, "response_id", "") for event in session.events}
    assert session.sound_s == pytest.approx(2 * WORD_MS / 1000)


async def test_a_reply_that_may_not_be_interrupted_goes_on_over_words(sophia: Sophia, speech: bytes) -> None:
    sophia.engines.nova.answer = LONG[:8]
    async with talk(sophia) as session:
        await session.update(
            audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}}
        )
        await session.ask("tell me a story")
        await session.until("response.output_audio.delta")
        await session.say(speech[: RATE * 2 // 2])
        await session.until("input_audio_buffer.speech_started")
        sophia.engines.recognition.final("and then?")
        assert (await session.until("response.done")).response.status == "completed"
        assert session.sound_s == pytest.approx(8 * WORD_MS / 1000)
        await session.connection.response.create()
        await session.until("response.done")
    assert sophia.engines.nova.asked[-1][-1] == ("user", "and then?")


async def test_the_history_keeps_what_the_client_says_was_heard(sophia: Sophia) -> None:
    sophia.engines.nova.answer = LONG
    async with talk(sophia) as session:
        await session.ask("tell me a story")
        while session.sound_s < 3 * WORD_MS / 1000:
            await session.until("response.output_audio.delta")
        item_id = session.events[-1].item_id
        await session.connection.conversation.item.truncate(
            item_id=item_id, content_index=0, audio_end_ms=2 * WORD_MS
        )
        done = await session.until("response.done")
        assert done.response.status == "cancelled"
        truncated = session.of("conversation.item.truncated") or [
            await session.until("conversation.item.truncated")
        ]
        assert (truncated[0].item_id, truncated[0].audio_end_ms) == (item_id, 2 * WORD_MS)
        sophia.engines.nova.answer = ["Yes."]
        await session.ask("and then?")
        await session.until("response.done")
    assert sophia.engines.nova.asked[-1] == [
        ("user", "tell me a story"),
        ("assistant", "word0 word1"),
        ("user", "and then?"),
    ]


async def test_what_was_heard_is_corrected_after_the_end(sophia: Sophia) -> None:
    """As OpenAI's clients do it: the server ends a response first, and then they say where they were."""
    async with talk(sophia) as session:
        await session.ask("one")
        item_id = (await session.until("response.done")).response.output[0].id
        await session.connection.conversation.item.truncate(
            item_id=item_id, content_index=0, audio_end_ms=WORD_MS
        )
        await session.until("conversation.item.truncated")
        await session.ask("two")
        await session.until("response.done")
    assert sophia.engines.nova.asked[-1][1] == ("assistant", "Hello")


# What the user says


async def test_a_spoken_turn_is_transcribed_and_answered(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        await session.say(quiet(0.2))
        await sophia.engines.recognition.opened()
        sophia.engines.recognition.interim("what")
        sophia.engines.recognition.interim("what is")
        sophia.engines.recognition.final("what is up")
        await session.until("response.done")
    deltas = session.of("conversation.item.input_audio_transcription.delta")
    completed = session.of("conversation.item.input_audio_transcription.completed")[0]
    assert [event.delta for event in deltas] == ["what", " is", " up"]
    assert completed.transcript == "what is up"
    assert {event.item_id for event in deltas} == {completed.item_id}
    assert session.of("input_audio_buffer.committed")[0].item_id == completed.item_id
    added = session.of("conversation.item.added")
    assert (added[0].item.id, added[0].item.role) == (completed.item_id, "user")
    assert added[1].previous_item_id == completed.item_id
    assert sophia.engines.nova.asked == [[("user", "what is up")]]


async def test_a_transcript_that_changes_its_mind_waits_for_the_end(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        await session.say(quiet(0.2))
        await sophia.engines.recognition.opened()
        sophia.engines.recognition.interim("watt")
        sophia.engines.recognition.interim("what is")
        sophia.engines.recognition.final("what is up")
        completed = await session.until("conversation.item.input_audio_transcription.completed")
    deltas = session.of("conversation.item.input_audio_transcription.delta")
    assert [event.delta for event in deltas] == ["watt"]
    assert completed.transcript == "what is up"


async def test_speech_starts_and_stops(sophia: Sophia, speech: bytes) -> None:
    async with talk(sophia) as session:
        await session.say(speech + quiet(1))
        started = await session.until("input_audio_buffer.speech_started")
        stopped = await session.until("input_audio_buffer.speech_stopped")
    assert started.item_id == stopped.item_id
    assert 0 < started.audio_start_ms < stopped.audio_end_ms


async def test_the_microphone_is_resampled_and_cut_anywhere(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        for _ in range(10):
            await session.connection.input_audio_buffer.append(audio=base64.b64encode(bytes(4801)).decode())
        await sophia.engines.recognition.opened()
        sophia.engines.recognition.final("hi")
        await session.until("response.done")
    received = len(sophia.engines.recognition.received[0])
    assert received % 2 == 0
    assert received == pytest.approx(48010 * 2 / 3, rel=0.1)


async def test_what_is_said_may_wait_to_be_answered(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        await session.update(
            audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}}
        )
        await session.say(quiet(0.2))
        await sophia.engines.recognition.opened()
        sophia.engines.recognition.final("hello")
        await session.until("conversation.item.input_audio_transcription.completed")
        assert not sophia.engines.nova.asked
        await session.connection.response.create()
        await session.until("response.done")
    assert not session.of("error")
    assert sophia.engines.nova.asked == [[("user", "hello")]]


@asynccontextmanager
async def push_to_talk(sophia: Sophia) -> AsyncIterator[Talk]:
    async with talk(sophia) as session:
        updated = await session.update(audio={"input": {"turn_detection": None}})
        assert updated.audio.input.turn_detection is None
        yield session


async def test_a_client_that_commits_is_answered_when_it_asks(sophia: Sophia, speech: bytes) -> None:
    async with push_to_talk(sophia) as session:
        await session.say(speech[: RATE * 2])
        await session.connection.input_audio_buffer.commit()
        await session.connection.response.create()
        committed = await session.until("input_audio_buffer.committed")
        await asyncio.wait_for(sophia.engines.recognition.ended.wait(), 30)
        assert not sophia.engines.nova.asked
        sophia.engines.recognition.final("what is up")
        sophia.engines.recognition.end()
        completed = await session.until("conversation.item.input_audio_transcription.completed")
        await session.until("response.done")
    assert completed.item_id == committed.item_id
    assert completed.usage.seconds == pytest.approx(1, abs=0.01)
    assert not session.of("input_audio_buffer.speech_started")
    assert sophia.engines.nova.asked == [[("user", "what is up")]]


def test_pauses_within_a_buffer_end_nothing() -> None:
    dictation = Dictation()
    dictation.hear(TranscriptFinal("first this", 0.9))
    dictation.hear(TranscriptPartial("and", 0.5))
    dictation.hear(TranscriptFinal("and then that", 0.9))
    assert dictation.take() == "first this and then that"


async def test_a_buffer_without_words_is_an_empty_transcript(engines: Scripted) -> None:
    async with served(engines, speech_deadline_s=0.2) as sophia, push_to_talk(sophia) as session:
        await session.say(quiet(0.2))
        await session.connection.input_audio_buffer.commit()
        completed = await session.until("conversation.item.input_audio_transcription.completed")
        assert completed.transcript == ""
        await session.connection.response.create()
        assert "nothing to answer" in (await session.until("error")).error.message


async def test_an_empty_buffer_cannot_be_committed(sophia: Sophia) -> None:
    async with push_to_talk(sophia) as session:
        await session.connection.input_audio_buffer.commit()
        assert (await session.until("error")).error.code == "input_audio_buffer_commit_empty"


async def test_a_cleared_buffer_is_forgotten(sophia: Sophia, speech: bytes) -> None:
    async with push_to_talk(sophia) as session:
        await session.say(speech[: RATE * 2])
        await sophia.engines.recognition.opened()
        sophia.engines.recognition.final("never mind")
        await session.connection.input_audio_buffer.clear()
        await session.until("input_audio_buffer.cleared")
        await session.connection.input_audio_buffer.commit()
        assert (await session.until("error")).error.code == "input_audio_buffer_commit_empty"
        await session.say(speech[: RATE * 2])
        await session.connection.input_audio_buffer.commit()
        await session.until("input_audio_buffer.committed")
        await asyncio.wait_for(sophia.engines.recognition.ended.wait(), 30)
        sophia.engines.recognition.final("what is up")
        sophia.engines.recognition.end()
        completed = await session.until("conversation.item.input_audio_transcription.completed")
    assert completed.transcript == "what is up"


async def test_a_late_final_of_before_a_pause_does_not_end_a_buffer(sophia: Sophia, speech: bytes) -> None:
    ears = sophia.engines.recognition
    async with push_to_talk(sophia) as session:
        await session.say(speech[: RATE * 2])
        await session.connection.input_audio_buffer.commit()
        await session.connection.response.create()
        await session.until("input_audio_buffer.committed")
        await asyncio.wait_for(ears.ended.wait(), 30)
        ears.final("a pizza")
        ears.final("and a glass of wine")
        ears.end()
        completed = await session.until("conversation.item.input_audio_transcription.completed")
        await session.until("response.done")
        await session.say(speech[: RATE * 2])
        await session.connection.input_audio_buffer.commit()
        await ears.opened()
        ears.final("thank you")
        ears.end()
        after = await session.until("conversation.item.input_audio_transcription.completed")
    assert completed.transcript == "a pizza and a glass of wine"
    assert after.transcript == "thank you"
    assert sophia.engines.nova.asked == [[("user", "a pizza and a glass of wine")]]


async def test_what_has_not_come_in_time_is_not_of_the_next_buffer(engines: Scripted) -> None:
    ears = engines.recognition
    async with served(engines, speech_deadline_s=2) as sophia, push_to_talk(sophia) as session:
        await session.say(quiet(0.2))
        await session.connection.input_audio_buffer.commit()
        await session.until("conversation.item.input_audio_transcription.completed")
        await ears.opened()
        while ears.open:  # noqa: ASYNC110 - the stream that is not listened to any more
            await asyncio.sleep(0.01)
        await session.say(b"\x01\x00" * (RATE // 5))
        await session.connection.input_audio_buffer.commit()
        await ears.opened()
        async with asyncio.timeout(30):
            while b"\x01\x00" not in ears.received[1]:  # noqa: ASYNC110 - Riva speaks of what it has heard
                await asyncio.sleep(0.01)
        ears.final("thank you")
        ears.end()
        completed = await session.until("conversation.item.input_audio_transcription.completed")
    assert completed.transcript == "thank you"


# The session


async def test_a_session_tells_what_holds(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        created = session.events[0].session
        assert created.model == "gpt-realtime"
        assert created.output_modalities == ["audio"]
        assert created.audio.output.format.rate == RATE
        updated = await session.update(
            instructions="Be brief.",
            audio={
                "input": {
                    "format": {"type": "audio/pcm", "rate": RATE},
                    "turn_detection": {"type": "server_vad", "create_response": False},
                    "transcription": {"model": "whisper-1", "language": "de"},
                },
                "output": {"voice": "anna", "format": {"type": "audio/pcm", "rate": RATE}, "speed": 1.0},
            },
        )
    assert updated.id == created.id
    assert updated.instructions == "Be brief."
    assert updated.audio.output.voice == "anna"
    assert updated.audio.input.transcription.language == "de-DE"
    assert updated.audio.input.turn_detection.create_response is False
    assert updated.audio.input.turn_detection.interrupt_response is True


async def test_the_language_is_chosen_before_anything_is_heard(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        await session.type("hello")
        await session.until("conversation.item.done")
        german = {"audio": {"input": {"transcription": {"language": "de"}}}}
        await session.connection.session.update(session={"type": "realtime", **german})
        error = (await session.until("error")).error
        assert error.param == "session.audio.input.transcription.language"
        assert (await session.update(instructions="Be brief.")).audio.input.transcription.language == "en-US"


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "session.audio.input.format.type"),
        ({"audio": {"output": {"format": {"type": "audio/pcm", "rate": 16000}}}}, "session.audio.output.f"),
        ({"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}, "session.audio.input.turn_d"),
        ({"audio": {"output": {"speed": 2.5}}}, "session.audio.output.speed"),
        ({"output_modalities": ["video"]}, "session.output_modalities.0"),
        ({"output_modalities": ["text", "audio"]}, "session.output_modalities"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "session.tools.0.type"),
        ({"tools": [{"type": "function", "name": "x y"}]}, "session.tools.0.name"),
        ({"tool_choice": "always"}, "session.tool_choice"),
        ({"instructions": "x" * 2001}, "instructions"),
        ({"type": "transcription"}, "session.type"),
    ],
)
async def test_what_is_not_served_is_refused_where_it_stands(
    sophia: Sophia, session: dict[str, Any], param: str
) -> None:
    async with raw(sophia) as socket:
        message = {"type": "session.update", "event_id": "e1", "session": {"type": "realtime"} | session}
        await socket.send(orjson.dumps(message).decode())
        error = (await next_of(socket, "error"))["error"]
        assert error["type"] == "invalid_request_error"
        assert error["param"].startswith(param)
        assert error["event_id"] == "e1"
        await socket.send('{"type": "session.update", "session": {"type": "realtime"}}')
        await next_of(socket, "session.updated")


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("{", "JSON"),
        ("", "JSON"),
        ("null", "object"),
        ("[]", "object"),
        ("{}", "type"),
        ('{"type": 3}', "type"),
        ('{"type": "dance"}', "must be one of 'session.update'"),
        ('{"type": "conversation.item.delete", "item_id": "x"}', "must be one of"),
        ('{"type": "session.update"}', "session"),
        ('{"type": "input_audio_buffer.append"}', "audio"),
        ('{"type": "input_audio_buffer.append", "audio": 3}', "string"),
        ('{"type": "input_audio_buffer.append", "audio": "!!!!"}', "not base64"),
        ('{"type": "input_audio_buffer.append", "audio": "AAA"}', "not base64"),
        ('{"type": "input_audio_buffer.append", "audio": "AA\\nAA"}', "not base64"),
        ('{"type": "input_audio_buffer.append", "audio": "ä"}', "not base64"),
        ('{"type": "conversation.item.create", "item": {"type": "function_call"}}', "message"),
        ('{"type": "conversation.item.create", "item": {"type": "message", "role": "system"}}', "role"),
        (typed('{"type": "input_audio", "audio": "AAAA"}'), "input_text"),
        (typed('{"type": "input_text", "text": "  "}'), "needs some text"),
        (typed('{"type": "input_text", "text": "x"}', '"previous_item_id": "x", '), "at the end"),
        (typed('{"type": "input_text", "text": "' + "x" * 900_000 + '"}'), "at most 2000"),
        (typed("1," * 400_000 + "1"), "content"),
        (
            '{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1}',
            "unknown",
        ),
        (
            '{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": -1}',
            "audio_end_ms",
        ),
        ('{"type": "response.create", "response": {"tools": [{"type": "function"}]}}', "tools"),
        ('{"type": "response.create", "response": {"conversation": "none"}}', "conversation"),
        ('{"type": "response.create", "response": {"output_modalities": []}}', "output_modalities"),
        ('{"type": "' + "x" * 900_000 + '"}', "must be one of"),
        ('{"type": "response.cancel", "event_id": "' + "x" * 900_000 + '"}', "event_id"),
        ('{"type": "response.cancel", "event_id": "\\ud800"}', "JSON"),
        ("[" * 100_000, "JSON"),
        ('{"type":' * 50_000, "JSON"),
        (b"\x00\x01", "JSON"),
    ],
    ids=lambda value: str(value)[:40] or "nothing",
)
async def test_a_bad_message_is_answered_and_the_session_lives(
    sophia: Sophia, message: str | bytes, complaint: str
) -> None:
    async with raw(sophia) as socket:
        await socket.send(message)
        event = await next_of(socket, "error")
        assert event["event_id"]
        error = event["error"]
        assert set(error) == {"type", "code", "message", "param", "event_id"}
        assert error["type"] == "invalid_request_error"
        assert complaint in error["message"]
        assert len(error["message"]) < 400
        await socket.send('{"type": "session.update", "session": {"type": "realtime"}}')
        await next_of(socket, "session.updated")


async def test_a_message_that_is_too_large_closes_with_its_reason(sophia: Sophia) -> None:
    async with raw(sophia) as socket:
        with suppress(ConnectionClosed):  # the server may be the faster
            await socket.send(
                orjson.dumps({"type": "input_audio_buffer.append", "audio": "A" * (1 << 20)}).decode()
            )
        with pytest.raises(ConnectionClosed) as closed:
            await next_of(socket, "never")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_no_message_repeats_what_the_client_sent() -> None:
    for text in (
        '{"type": "hunter2"}',
        '{"type": "input_audio_buffer.append", "audio": {"secret": "hunter2"}}',
        '{"type": "session.update", "session": {"audio": {"output": {"format": {"type": "hunter2"}}}}}',
    ):
        with pytest.raises(RefusedError) as caught:
            parse(text)
        assert "hunter2" not in str(caught.value)


async def test_a_fault_of_the_ears_is_told_in_openais_form(sophia: Sophia) -> None:
    async with talk(sophia) as session:
        await session.say(quiet(0.2))
        await sophia.engines.recognition.opened()
        sophia.engines.recognition.fail(grpc.StatusCode.UNAVAILABLE)
        error = (await session.until("error")).error
        assert (error.type, error.code) == ("server_error", "peer_unavailable")
        await session.ask("hello")
        await session.until("response.done")


async def test_a_session_too_many_is_refused_with_a_reason(engines: Scripted) -> None:
    async with served(engines, max_sessions=1) as sophia, talk(sophia), raw(sophia) as socket:
        error = (await next_of(socket, "error"))["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "overloaded")


async def test_a_key_is_asked_for_where_there_are_keys(engines: Scripted) -> None:
    async with served(engines, api_keys=["hunter2"]) as sophia:
        async with (
            AsyncOpenAI(base_url=f"http://{sophia.address}/v1", api_key="hunter2") as client,
            client.realtime.connect(model="any") as connection,
        ):
            assert (await connection.recv()).type == "session.created"
        with pytest.raises(InvalidStatus) as caught:
            async with raw(sophia):
                pass
        assert caught.value.response.status_code == 401


async def test_sound_faster_than_time_leaves_the_others_their_turn(
    sophia: Sophia, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.sophia.connection.BURST_S", 1.0)
    append = orjson.dumps({"type": "input_audio_buffer.append", "audio": "AAAA" * 16000}).decode()
    async with raw(sophia) as socket, talk(sophia) as other:
        for _ in range(6):
            await socket.send(append)
        await other.ask("hello")
        await other.until("response.done")
        socket.transport.abort()


@pytest.mark.parametrize(
    ("settings", "code", "close"),
    [({"idle_s": 0.2}, "idle", CLOSE_IDLE), ({"max_session_s": 0.2}, "session_too_long", CLOSE_TOO_LONG)],
)
async def test_a_session_ends_by_the_same_rules_as_any_other(
    engines: Scripted, settings: dict[str, float], code: str, close: int
) -> None:
    async with served(engines, **settings) as sophia, raw(sophia) as socket:
        assert (await next_of(socket, "error"))["error"]["code"] == code
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == close
