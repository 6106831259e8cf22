"""/v1/audio, asked by OpenAI's own client, unmodified, over the scripted engines."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import numpy as np
import openai
import pytest
import soundfile
from riva.client.proto import riva_tts_pb2 as tts

from services.sophia.realtime_events import RATE
from tests.services.sophia.conftest import Sophia
from tests.services.sophia.engines import WORD_MS


@pytest.fixture
async def client(sophia: Sophia) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"http://{sophia.address}/v1", api_key="any", max_retries=0
    ) as client:
        yield client


def wav(seconds: float = 1.0, rate: int = 16000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(int(rate * seconds), np.int16), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


async def test_text_is_spoken_as_raw_samples(client: openai.AsyncOpenAI) -> None:
    speech = await client.audio.speech.create(
        model="tts-1", voice="alloy", input="One two. Three four.", response_format="pcm"
    )
    assert len(speech.content) == 4 * WORD_MS * RATE // 1000 * 2


async def test_text_is_spoken_as_a_wav_stream(client: openai.AsyncOpenAI) -> None:
    pieces = []
    async with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Hello there.", response_format="wav"
    ) as speech:
        pieces = [piece async for piece in speech.iter_bytes()]
    data, rate = soundfile.read(io.BytesIO(b"".join(pieces)))
    assert (rate, len(data)) == (RATE, 2 * WORD_MS * RATE // 1000)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"response_format": "mp3"}, "response_format"),
        ({"input": ""}, "input"),
        ({"input": "x" * 5000}, "input"),
        ({"input": "..."}, "nothing to speak"),
        ({"speed": 4}, "speed"),
        ({"stream_format": "sse"}, "stream_format"),
    ],
)
async def test_what_cannot_be_spoken_is_refused(
    client: openai.AsyncOpenAI, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=words) as caught:
        await client.audio.speech.create(**({"model": "tts-1", "voice": "alloy", "input": "Hello."} | more))
    assert caught.value.type == "invalid_request_error"


async def test_another_speed_is_asked_for_in_ssml(sophia: Sophia, client: openai.AsyncOpenAI) -> None:
    await client.audio.speech.create(model="tts-1", voice="alloy", input="Salt & <pepper>!", speed=1.5)
    assert sophia.engines.synthesis.spoken == [
        '<speak><prosody rate="150%">Salt &amp; &lt;pepper&gt;!</prosody></speak>'
    ]


async def test_a_listener_who_goes_stops_the_synthesis(sophia: Sophia, client: openai.AsyncOpenAI) -> None:
    synthesis = sophia.engines.synthesis
    synthesis.script, synthesis.stall = [tts.SynthesizeSpeechResponse(audio=bytes(4800))], asyncio.Event()
    async with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Hello there.", response_format="pcm"
    ) as speech:
        async for _ in speech.iter_bytes():
            break
    await asyncio.wait_for(synthesis.cancelled.wait(), 30)


@pytest.mark.parametrize("form", ["json", "text", "verbose_json"])
async def test_a_recording_is_transcribed(sophia: Sophia, client: openai.AsyncOpenAI, form: Any) -> None:
    asking = asyncio.create_task(
        client.audio.transcriptions.create(
            model="whisper-1", file=("a.wav", wav()), language="en", response_format=form
        )
    )
    recognition = sophia.engines.recognition
    await recognition.opened()
    await recognition.has_received(1)
    recognition.interim("what")
    recognition.final("what is", ("what", 100, 200), ("is", 200, 300))
    recognition.final("up")
    recognition.end()
    answer = await asking
    assert (answer if isinstance(answer, str) else answer.text).strip() == "what is up"
    if form == "verbose_json":
        assert [(word.word, word.start, word.end) for word in answer.words] == [
            ("what", 0.1, 0.2),
            ("is", 0.2, 0.3),
        ]
        assert (answer.duration, answer.language) == (1.0, "en-US")


@pytest.mark.parametrize(
    ("file", "more", "words"),
    [
        (b"not a recording", {}, "WAV"),
        (b"", {}, "WAV"),
        (wav(), {"response_format": "srt"}, "response_format"),
        (wav(), {"language": "not a language"}, "language"),
        (wav(), {"stream": True}, "stream"),
        (wav(601, 8000), {}, "longer than 600 s"),
        (wav(601), {}, "larger than"),
    ],
)
async def test_what_cannot_be_transcribed_is_refused(
    client: openai.AsyncOpenAI, file: bytes, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(openai.APIStatusError, match=words) as caught:
        await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", file), **more)
    assert caught.value.status_code in (400, 413)


async def test_a_fault_of_riva_is_told(sophia: Sophia, client: openai.AsyncOpenAI) -> None:
    sophia.engines.recognition.refuse = (grpc.StatusCode.UNAVAILABLE, "not now")
    with pytest.raises(openai.InternalServerError) as caught:
        await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", wav()))
    assert caught.value.code == "peer_unavailable"


async def test_odd_bodies_are_answered_in_openais_form(sophia: Sophia) -> None:
    async with httpx.AsyncClient(base_url=f"http://{sophia.address}/v1/audio") as http:
        answers = [
            await http.post("/speech", content=b"{"),
            await http.post("/speech", content=b"x" * (1 << 17)),
            await http.post("/transcriptions", content=b"x"),
            await http.post("/transcriptions", files={"other": wav()}),
            await http.post("/transcriptions", files={"file": bytes((1 << 24) + (1 << 15))}),
        ]
    assert [answer.status_code for answer in answers] == [400, 413, 400, 400, 413]
    assert all(answer.json()["error"]["type"] == "invalid_request_error" for answer in answers)
