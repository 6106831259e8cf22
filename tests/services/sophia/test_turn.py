"""One reply: what bad peers may send, and that its turn ends all the same."""

from __future__ import annotations

import asyncio

import pytest
from riva.client.proto import riva_tts_pb2 as tts

from services.sophia.turn import MAX_ANSWER_CHARS
from shared.audio import RATE
from shared.phones import TOLD
from shared.wire.aurora.v1 import aurora_pb2
from tests.services.sophia.conftest import Sophia

SECOND = RATE * 2
"""Bytes."""


def sound(seconds: float, *words: tuple[str, int, int]) -> tts.SynthesizeSpeechResponse:
    response = tts.SynthesizeSpeechResponse(audio=b"\x01\x00" * int(RATE * seconds))
    for word, start_ms, end_ms in words:
        response.meta.words.add(word=word, start_time=start_ms, end_time=end_ms)
    return response


async def test_a_synthesis_without_a_sound_is_an_error_and_no_silent_reply(sophia: Sophia) -> None:
    sophia.engines.synthesis.script = []
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        error = await client.until("error", "reply.done")
        assert (error["code"], error["turn"]) == ("peer_protocol", 1)


async def test_an_answer_with_nothing_to_speak_is_still_an_answer(sophia: Sophia) -> None:
    sophia.engines.nova.answer = ["\U0001f642"]
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        assert (await client.until("error", "reply.done"))["text"] == "\U0001f642"
    assert sophia.engines.synthesis.spoken == []


async def test_odd_pieces_of_sound_are_put_together(sophia: Sophia) -> None:
    sophia.engines.synthesis.script = [
        tts.SynthesizeSpeechResponse(audio=piece) for piece in (b"\x01", b"\x00\x01", b"\x00", b"")
    ]
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        await client.until("reply.done")
    assert b"".join(event["pcm"] for event in client.of("audio")) == b"\x01\x00\x01\x00"
    assert all(len(event["pcm"]) % 2 == 0 for event in client.of("audio"))


async def test_a_piece_of_ten_seconds_is_paced_like_any_other(sophia: Sophia) -> None:
    sophia.engines.synthesis.script = [sound(10)]
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        await client.until("audio")
        await client.send(type="cancel")
        assert (await client.until("interrupted"))["spoken_ms"] < 1000
    assert sum(len(event["pcm"]) for event in client.of("audio")) < 2 * SECOND


async def test_of_a_slow_synthesis_only_what_came_was_heard(sophia: Sophia) -> None:
    engines = sophia.engines
    engines.nova.answer = ["one two three four five six."]
    engines.synthesis.script = [sound(0.3, ("one", 0, 150), ("two", 150, 300), ("three", 300, 600))]
    engines.synthesis.stall = asyncio.Event()
    async with sophia.session() as client:
        await client.send(type="text", text="count")
        for _ in range(3):
            await client.until("audio")
        await client.send(type="playback", played_ms=300)
        await client.send(type="cancel")
        assert (await client.until("interrupted"))["spoken_text"] == "one two"


def phones(text: str, *durations_ms: float) -> tts.SynthesizeSpeechResponse:
    response = sound(sum(durations_ms) / 1e3)
    response.meta.processed_text = text
    response.meta.predicted_durations.extend(durations_ms)
    return response


@pytest.mark.parametrize("told", [True, False])
async def test_the_face_is_told_the_phones_of_a_clause_before_its_sound(sophia: Sophia, told: bool) -> None:
    engines = sophia.engines
    engines.synthesis.metadata = (TOLD,) if told else ()
    engines.nova.answer = ["Up we go now, my friend. ", "Mum is here."]
    engines.synthesis.script = [phones("ˈʌ p", 200, 100), sound(0, ("up", 0, 300)), phones("m", 100)]
    async with sophia.session(animation=True) as client:
        await client.send(type="text", text="hello")
        await client.until("reply.done")
    clauses = len(engines.synthesis.spoken)
    assert clauses > 1
    told_ms, heard_ms = list[tuple[str, float, float]](), 0.0
    for request in engines.aurora.requests:
        for mark in request.timing.phones:
            assert mark.start_ms >= heard_ms - 0.1
            told_ms.append((mark.label, round(mark.start_ms), round(mark.end_ms)))
        heard_ms += 1e3 * len(request.audio) / SECOND
    clause_ms = [round(heard_ms / clauses) * clause for clause in range(clauses)]
    labels = (("ˈʌ", 0, 200), ("p", 200, 300), ("m", 300, 400))
    expected = [(label, at + start, at + end) for at in clause_ms for label, start, end in labels]
    assert told_ms == (expected if told else [])
    words = [mark.label for request in engines.aurora.requests for mark in request.timing.words]
    assert words == ["up"] * clauses


async def test_phones_without_a_length_cost_nothing_but_themselves(sophia: Sophia) -> None:
    engines = sophia.engines
    engines.synthesis.metadata = (TOLD,)
    bad = sound(0.2)
    bad.meta.processed_text = "m p"
    bad.meta.predicted_durations.extend([float("nan"), 100])
    engines.synthesis.script = [bad, phones("m", 100)]
    async with sophia.session(animation=True) as client:
        await client.send(type="text", text="hello")
        await client.until("reply.done")
    assert not any(request.timing.phones for request in engines.aurora.requests)
    assert client.of("animation")
    assert not client.of("error")


@pytest.mark.parametrize("words", [(), (("one", 0, 0), ("two", 0, 0), ("three", 0, 0), ("four", 0, 0))])
async def test_without_times_of_words_what_was_heard_is_estimated(
    sophia: Sophia, words: tuple[tuple[str, int, int], ...]
) -> None:
    sophia.engines.nova.answer = ["one two three four"]
    sophia.engines.synthesis.script = [sound(0.6, *words)]
    async with sophia.session() as client:
        await client.send(type="text", text="count")
        await client.until("reply.done")  # all is sent, and the end of it not yet heard
        await client.send(type="playback", played_ms=310)
        await client.send(type="cancel")
        assert (await client.until("interrupted"))["spoken_text"] in ("one two", "one two three")


async def test_times_of_words_that_come_last_are_used(sophia: Sophia) -> None:
    sophia.engines.nova.answer = ["one two three four"]
    sophia.engines.synthesis.script = [sound(1.0), sound(0.1, ("one", 0, 900), ("two", 900, 1000))]
    async with sophia.session() as client:
        await client.send(type="text", text="count")
        while sum(len(event["pcm"]) for event in client.of("audio")) < SECOND * 5 // 10:
            await client.until("audio")
        await client.send(type="playback", played_ms=500)
        await client.send(type="cancel")
        assert (await client.until("interrupted"))["spoken_text"] == "one"


async def test_pieces_of_nothing_are_no_first_token(sophia: Sophia) -> None:
    sophia.engines.nova.answer = ["", "", "Hello there.", ""]
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        await client.until("reply.done")
    assert [event["text"] for event in client.of("reply.text")] == ["Hello there."]


async def test_an_answer_of_blanks_is_an_error(sophia: Sophia) -> None:
    sophia.engines.nova.answer = [" ", "\n\n", "\t"]
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        assert (await client.until("error", "reply.done"))["code"] == "peer_protocol"


async def test_an_answer_without_end_is_cut(sophia: Sophia) -> None:
    sophia.engines.nova.answer = ["word " * 100_000] * 3
    sophia.engines.nova.endless = True
    async with sophia.session() as client:
        await client.send(type="text", text="hello")
        await client.until("audio")
        await client.send(type="cancel")
        await client.until("interrupted")
        await asyncio.wait_for(sophia.engines.nova.cancelled.wait(), 30)
    assert sum(len(event["text"]) for event in client.of("reply.text")) <= MAX_ANSWER_CHARS


@pytest.mark.parametrize(
    "frame",
    [
        aurora_pb2.Frame(t_ms=0, weights=[0.5]),
        aurora_pb2.Frame(t_ms=0, weights=[0.5, float("nan")]),
        aurora_pb2.Frame(t_ms=float("nan"), weights=[0.5, 0.5]),
        aurora_pb2.Frame(t_ms=0, weights=[float("inf"), 0.5]),
    ],
    ids=["too few", "no number", "no time", "without bound"],
)
async def test_a_frame_that_is_none_costs_the_face_and_not_the_voice(
    sophia: Sophia, frame: aurora_pb2.Frame
) -> None:
    sophia.engines.aurora.frame = frame
    async with sophia.session(animation=True) as client:
        await client.send(type="text", text="hello")
        await client.until("reply.done")
    assert [event["code"] for event in client.of("error")] == ["peer_protocol"]
    assert not client.of("animation")
    assert sum(len(event["pcm"]) for event in client.of("audio")) == SECOND // 2


async def test_a_face_whose_frames_lie_beyond_the_sound_holds_nothing_up(sophia: Sophia) -> None:
    sophia.engines.aurora.frame = aurora_pb2.Frame(t_ms=1e9, weights=[0.5, 0.5])
    async with sophia.session(animation=True) as client:
        await client.send(type="text", text="hello")
        await client.until("turn.metrics")
    assert not client.of("animation")
