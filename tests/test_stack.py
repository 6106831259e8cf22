"""The whole product on its real engines, started once: what a user gets from `voxloop up`."""

from __future__ import annotations

import asyncio
import os
import re
import signal

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect

from shared.audio import RATE, is_silent, read_wav
from tests.conftest import ROOT
from tests.fixtures.stack import RunningStack
from tests.services.sophia.conftest import Client, Sophia
from tests.services.sophia.engines import Scripted
from tests.services.sophia.test_realtime_ws import talk as talk_realtime
from voxloop.talk import Exchange, load_question, talk
from voxloop.waterfall import pictures

SAMPLES = ROOT / "samples"
LONG_ANSWER = "Count from one to forty."


def words(text: str) -> list[str]:
    return "".join(letter if letter.isalnum() or letter == "'" else " " for letter in text.lower()).split()


def tonality(pcm: bytes) -> float:
    """The share of the energy in the strongest 20 Hz: 1 for a tone, small for speech."""
    spectrum = np.abs(np.fft.rfft(np.frombuffer(pcm, "<i2").astype(np.float64))) ** 2
    per_bin = RATE / (len(pcm) / 2)
    width = max(1, round(20 / per_bin))
    power = np.convolve(spectrum, np.ones(width), "valid")
    return float(power.max() / spectrum.sum())


@pytest.fixture(scope="module")
async def exchange(stack: RunningStack) -> Exchange:
    return await talk(stack.voice_url, load_question(SAMPLES / "question.wav"))


async def test_the_question_is_understood_word_for_word(exchange: Exchange) -> None:
    assert words(exchange.transcript) == words((SAMPLES / "question.txt").read_text())


async def test_the_answer_fits_the_question(exchange: Exchange) -> None:
    assert "Paris" in exchange.answer


async def test_the_reply_is_speech(exchange: Exchange) -> None:
    assert not is_silent(exchange.reply)
    assert tonality(exchange.reply) < 0.5
    assert 0.5 < exchange.reply_s < 10


async def test_the_face_has_thirty_frames_a_second_and_closes_its_mouth(exchange: Exchange) -> None:
    assert exchange.shortcomings() == []


def test_every_stage_of_the_turn_is_measured(exchange: Exchange, stack: RunningStack) -> None:
    assert list(exchange.stages) == [
        "speech_end_to_final",
        "llm_first_token",
        "first_clause",
        "tts_first_audio",
        "first_audio_sent",
        "reply_audio",
    ]
    metrics = httpx.get(stack.http("sophia") + "/metrics", trust_env=False).text
    assert 'voxloop_turn_stage_seconds_count{stage="llm_first_token"}' in metrics


def test_every_row_of_the_waterfall_has_its_bar(exchange: Exchange) -> None:
    wait, reply = pictures(exchange.turns[-1])
    assert all(row.spans for row in [*wait.rows, *reply.rows])


@pytest.mark.parametrize("service", ["nova", "sophia", "aurora"])
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"])
def test_every_service_has_its_standard_pages(stack: RunningStack, service: str, path: str) -> None:
    assert httpx.get(stack.http(service) + path, trust_env=False).status_code == 200


async def running_in_triton(stack: RunningStack) -> float:
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(stack.triton_metrics)).text
    return sum(
        float(line.split()[-1]) for line in text.splitlines() if line.startswith("voxloop_engine_running")
    )


async def until_triton_is_idle(stack: RunningStack) -> None:
    async with asyncio.timeout(30):
        # A metric of another process tells nobody that it has changed.
        while await running_in_triton(stack):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_an_interruption_ends_the_turn_and_stops_the_generation(stack: RunningStack) -> None:
    async with connect(stack.voice_url, proxy=None) as socket:
        client = Client(socket)
        await client.send(type="session.start", animation=True)
        await client.send(type="text", text=LONG_ANSWER)
        await client.until("audio")
        await client.send(type="cancel")
        interrupted = await client.until("interrupted")
        await until_triton_is_idle(stack)
        await client.send(type="text", text="What is the capital of Spain?")
        done = await client.until("reply.done")
    assert "Madrid" in done["text"]
    after = client.events[client.events.index(interrupted) + 1 :]
    assert all(event.get("turn", 2) == 2 for event in after)
    assert len(client.of("reply.done")) == 1


async def test_speech_over_the_reply_interrupts_it(stack: RunningStack) -> None:
    speech = read_wav(SAMPLES / "question.wav")
    async with connect(stack.voice_url, proxy=None) as socket:
        client = Client(socket)
        await client.send(type="text", text=LONG_ANSWER)
        await client.until("audio")

        async def speak() -> None:
            pieces = speech + bytes(RATE * 2 * 3)
            for start in range(0, len(pieces), 640):
                await socket.send(pieces[start : start + 640])
                await asyncio.sleep(0.02)  # a microphone: 20 ms of sound take 20 ms

        speaking = asyncio.create_task(speak())
        await client.until("reply.paused")
        interrupted = await client.until("interrupted")
        done = await client.until("reply.done")
        speaking.cancel()
    assert interrupted["turn"] == 1
    first_answer = "".join(event["text"] for event in client.of("reply.text") if event["turn"] == 1)
    assert first_answer.startswith(interrupted["spoken_text"])
    assert "Paris" in done["text"]


async def test_two_sessions_do_not_mix(stack: RunningStack) -> None:
    async def ask(country: str) -> str:
        async with connect(stack.voice_url, proxy=None) as socket:
            client = Client(socket)
            await client.send(type="text", text=f"My name is {country}.")
            await client.until("reply.done")
            await client.send(type="text", text=f"What is the capital of {country}?")
            done = await client.until("reply.done")
            assert isinstance(done["text"], str)
            return done["text"]

    italy, norway = await asyncio.gather(ask("Italy"), ask("Norway"))
    assert "Rome" in italy
    assert "Oslo" in norway


async def killed_in_mid_reply(client: Client, stack: RunningStack) -> bool:
    """Kill Triton behind the first words of a reply; returns when it is back.

    False where the answer was complete by then: nova-mini may be faster than the signal.
    """
    triton, times = stack.child("tritonserver").pid, stack.times_ready("triton")
    await client.send(type="text", text=LONG_ANSWER)
    await client.until("reply.text")
    os.kill(triton, signal.SIGKILL)
    ended = await client.until("error", "turn.metrics")
    await asyncio.to_thread(stack.until_ready_again, "triton", times)
    return ended["type"] == "error"


async def test_triton_killed_in_mid_reply_costs_one_turn(stack: RunningStack) -> None:
    async with connect(stack.voice_url, proxy=None) as socket:
        client = Client(socket)
        for _ in range(5):
            if await killed_in_mid_reply(client, stack):
                break
        error = client.of("error")[0]
        assert error["retryable"]
        assert error["turn"] == len(client.of("reply.started"))
        await client.send(type="text", text="What is the capital of Spain?")
        assert "Madrid" in (await client.until("reply.done"))["text"]


async def test_german_is_spoken_and_its_recognition_refused_in_rivas_words(stack: RunningStack) -> None:
    async with connect(stack.voice_url, proxy=None) as socket:
        client = Client(socket)
        await client.send(type="session.start", language="de-DE")
        await client.send(type="text", text="Guten Morgen")
        await client.until("reply.done")
        assert not is_silent(b"".join(event["pcm"] for event in client.of("audio")))
        await socket.send(bytes(RATE))
        error = await client.until("error")
    assert "Unavailable model requested" in error["message"]
    assert "language_code=de-DE" in error["message"]


async def test_a_realtime_session_has_its_own_voice_language_and_instructions(stack: RunningStack) -> None:
    german = {
        "instructions": "Antworte kurz.",
        "audio": {
            "input": {"transcription": {"language": "de"}},
            "output": {"voice": "espeak-de-DE"},
        },
    }
    sophia = Sophia(Scripted(), stack.http("sophia").removeprefix("http://"))
    async with talk_realtime(sophia) as session:
        told = await session.update(**german)
        assert (told.instructions, told.audio.output.voice) == ("Antworte kurz.", "espeak-de-DE")
        await session.ask("Was ist die Hauptstadt von Frankreich?")
        done = await session.until("response.done")
        assert "Paris" in done.response.output[0].content[0].transcript
        assert session.sound_s > 0.5


async def test_tools_are_refused_where_tritons_text_interface_cannot_carry_them(stack: RunningStack) -> None:
    async with connect(stack.voice_url, proxy=None) as socket:
        client = Client(socket)
        tool = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
        await client.send(type="session.start", tools=[tool])
        error = await client.until("error", "session.started")
        assert "NOVA_CONTRACT=openai" in error["message"]
        await client.send(type="text", text="What is the capital of Spain?")
        assert "Madrid" in (await client.until("reply.done"))["text"]


@pytest.mark.parametrize("service", ["nova", "sophia", "aurora"])
def test_the_documentation_page_needs_no_other_host(stack: RunningStack, service: str) -> None:
    page = httpx.get(stack.http(service) + "/docs", trust_env=False).text
    assert "://" not in page
    script = re.search(r'src="([^"]+)"', page)
    assert script is not None
    assert httpx.get(stack.http(service) + script[1], trust_env=False).status_code == 200
