"""A deployment's own word on whether somebody has finished: heeded in time, and never needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from services.sophia.end_of_turn import EndOfTurn
from services.sophia.metrics import END_OF_TURN
from shared.audio import RATE, read_wav
from shared.errors import SettingsError
from tests.conftest import ROOT
from tests.fixtures import turn_ends
from tests.services.sophia.conftest import Client, Sophia, served
from tests.services.sophia.engines import Scripted

PLUGINS = "tests.fixtures.turn_ends"
NEVER_MS = 3_600_000


@pytest.fixture
async def patient(engines: Scripted) -> AsyncIterator[Sophia]:
    """Waits for as long as it takes, where the plug-in says so."""
    turn_ends.asked.clear()
    plugin = {"end_of_turn": f"{PLUGINS}:unless_and", "end_of_turn_deadline_ms": 10_000}
    async with served(engines, end_of_turn_wait_ms=NEVER_MS, early_start=True, **plugin) as sophia:
        yield sophia


def counted(verdict: str) -> float:
    return END_OF_TURN.labels(verdict)._value.get()


async def listening(client: Client, sophia: Sophia) -> None:
    await client.say(bytes(6400))
    await sophia.engines.recognition.opened()
    await sophia.engines.recognition.has_received(0.2)


async def until_waiting(before: float) -> None:
    async with asyncio.timeout(30):
        while counted("wait") == before:  # noqa: ASYNC110 - a metric tells nobody that it has changed
            await asyncio.sleep(0.01)


async def test_who_goes_on_is_answered_once_all_is_said(patient: Sophia) -> None:
    ears, before = patient.engines.recognition, counted("wait")
    async with patient.session() as client:
        await listening(client, patient)
        ears.final("I want a pizza and")
        await until_waiting(before)
        ears.final("a glass of wine")
        await client.until("reply.done")
        await client.send(type="playback", played_ms=500)
        await client.send(type="nothing")
        await client.until("error")  # so all of the reply is heard
        ears.final("that is all now")
        metrics = await client.until("turn.metrics")
        while metrics["turn"] != 2:
            metrics = await client.until("turn.metrics")
    assert patient.engines.nova.asked == [
        [("user", "I want a pizza and"), ("user", "a glass of wine")],
        [
            ("user", "I want a pizza and"),
            ("user", "a glass of wine"),
            ("assistant", "Hello there."),
            ("user", "that is all now"),
        ],
    ]
    assert [transcript for transcript, _ in turn_ends.asked] == [
        "I want a pizza and",
        "I want a pizza and a glass of wine",
        "that is all now",
    ]
    assert turn_ends.asked[-1][1][-1] == {"role": "assistant", "content": "Hello there."}
    assert list(metrics["stages"])[:2] == ["speech_end_to_final", "end_of_turn"]


async def test_short_answers_never_wait(patient: Sophia) -> None:
    async with patient.session() as client:
        await listening(client, patient)
        patient.engines.recognition.final("Yeah, and")
        await client.until("reply.done")
    assert turn_ends.asked == []


async def test_an_early_start_is_confirmed_by_a_turn_that_is_over(patient: Sophia) -> None:
    ears = patient.engines.recognition
    async with patient.session() as client:
        await listening(client, patient)
        ears.interim("what time is it", stability=1.0)
        await asyncio.wait_for(patient.engines.synthesis.asked.wait(), 30)
        ears.final("What time is it?")
        metrics = await client.until("turn.metrics")
    assert len(patient.engines.nova.asked) == 1
    assert metrics["stages"]["llm_first_token"] == 0
    assert list(metrics["stages"])[:2] == ["speech_end_to_final", "end_of_turn"]


async def test_a_typed_turn_does_not_wait_and_loses_nothing(patient: Sophia) -> None:
    before = counted("wait")
    async with patient.session() as client:
        await listening(client, patient)
        patient.engines.recognition.final("I want a pizza and")
        await until_waiting(before)
        await client.send(type="text", text="with cheese")
        await client.until("reply.done")
    assert patient.engines.nova.asked == [[("user", "I want a pizza and"), ("user", "with cheese")]]


async def test_a_noise_is_not_more(patient: Sophia) -> None:
    """The words wait for what the microphone hears, and are answered when it was nothing."""
    before = counted("wait")
    speech = read_wav(ROOT / "samples" / "question.wav")[RATE * 2 * 4 // 10 :]
    async with patient.session() as client:
        await listening(client, patient)
        patient.engines.recognition.final("I want a pizza and")
        await until_waiting(before)
        await client.say(speech[: RATE * 2 // 2] + bytes(RATE * 2))
        await client.until("speech.started")
        await client.until("reply.done")
    assert patient.engines.nova.asked == [[("user", "I want a pizza and")]]


async def test_words_that_riva_withdraws_are_not_more(patient: Sophia) -> None:
    ears, before = patient.engines.recognition, counted("wait")
    async with patient.session() as client:
        await listening(client, patient)
        ears.final("I want a pizza and")
        await until_waiting(before)
        ears.interim("hm")
        ears.final("")
        await client.until("reply.done")
    assert patient.engines.nova.asked == [[("user", "I want a pizza and")]]


async def test_nobody_waits_for_ever(engines: Scripted) -> None:
    plugin = {"end_of_turn": f"{PLUGINS}:model", "end_of_turn_deadline_ms": 10_000}
    async with served(engines, end_of_turn_wait_ms=1, **plugin) as sophia, sophia.session() as client:
        await listening(client, sophia)
        engines.recognition.final("what time is it")
        await client.until("reply.done")


@pytest.mark.parametrize(("plugin", "verdict"), [("broken", "failed"), ("slow", "late")])
async def test_a_plugin_that_does_not_work_is_counted_and_ignored(
    engines: Scripted, plugin: str, verdict: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted(verdict)
    settings = {"end_of_turn": f"{PLUGINS}:{plugin}", "end_of_turn_wait_ms": NEVER_MS}
    async with served(engines, **settings) as sophia, sophia.session() as client:
        await listening(client, sophia)
        with caplog.at_level(logging.DEBUG):
            engines.recognition.final("what time is it")
            await client.until("reply.done")
    assert counted(verdict) == before + 1
    assert "what time" not in caplog.text
    assert not client.of("error")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere", "cannot be imported"),
        (":", "cannot be imported"),
        ("no.such.module:it", "cannot be imported"),
        (f"{PLUGINS}:nothing", "cannot be imported"),
        (f"{PLUGINS}:plain", "no async function"),
        (f"{PLUGINS}:PLUGINS", "cannot be imported"),
        (f"{PLUGINS}:Model", "no async function"),
    ],
)
def test_what_is_no_plugin_is_refused_at_the_start(name: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        EndOfTurn.load(name, 1)
