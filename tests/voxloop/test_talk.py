"""A recording is played as if somebody spoke it, and bad recordings are refused in words."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import orjson
import pytest
import soundfile

from shared.audio import RATE, read_wav
from shared.errors import AudioError, PeerError, PeerProtocol, PeerRefused, PeerUnavailable
from shared.process import free_port
from tests.conftest import ROOT
from tests.services.sophia.conftest import served
from tests.services.sophia.engines import scripted_engines
from voxloop import talk
from voxloop.talk import Exchange, end_of_speech, load_question


def wav(path: Path, seconds: float, rate: int = RATE, channels: int = 1, subtype: str = "PCM_16") -> Path:
    t = np.arange(int(rate * seconds)) / rate
    tone = 0.3 * np.sin(2 * np.pi * 200 * t)
    soundfile.write(path, np.tile(tone[:, None], (1, channels)), rate, subtype=subtype)
    return path


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [(16000, 1, "PCM_16"), (44100, 2, "PCM_24"), (8000, 1, "PCM_U8"), (48000, 6, "FLOAT")],
)
def test_any_wav_becomes_what_the_loop_hears(tmp_path: Path, rate: int, channels: int, subtype: str) -> None:
    pcm = load_question(wav(tmp_path / "a.wav", 1.0, rate, channels, subtype))
    assert len(pcm) == pytest.approx(RATE * 2, rel=0.001)
    assert np.abs(np.frombuffer(pcm, "<i2")).max() == pytest.approx(0.3 * 32767, rel=0.05)


def test_bad_recordings_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    for name, complaint in {
        "missing.wav": "does not exist",
        "text.wav": "not a readable WAV",
        "empty.wav": "holds no audio",
        "silent.wav": "nothing was said",
    }.items():
        with pytest.raises(AudioError, match=complaint) as caught:
            load_question(tmp_path / name)
        assert name in str(caught.value)


def test_the_end_of_speech_is_the_last_voiced_sample(tmp_path: Path) -> None:
    pcm = read_wav(wav(tmp_path / "a.wav", 1.0)) + bytes(RATE)
    assert end_of_speech(pcm) == pytest.approx(RATE * 2, abs=640)


async def test_a_turn_is_taken_whole(tmp_path: Path) -> None:
    async with scripted_engines() as engines, served(engines) as sophia:
        engines.recognition.final("what is up")
        pcm = read_wav(wav(tmp_path / "a.wav", 0.3))
        exchange = await talk.talk(f"ws://{sophia.address}/sophia/voice", pcm)
    assert exchange.transcript == "what is up"
    assert exchange.answer == "Hello there."
    assert exchange.reply_s == pytest.approx(0.5)
    assert len(exchange.frames) == pytest.approx(15, abs=1)
    [turn] = exchange.turns
    assert (turn.outcome, turn.question, turn.answer) == ("done", "what is up", "Hello there.")
    assert turn.first_audio is not None
    assert turn.first_frame is not None
    assert (turn.audio_ms, turn.frames) == (pytest.approx(500), len(exchange.frames))
    # The scripted face leaves its mouth open, which `run --once` must not let pass.
    assert exchange.shortcomings() == ["the mouth is open at the end"]
    talk.save(exchange, tmp_path / "reply.wav", tmp_path / "face.jsonl")
    assert soundfile.info(tmp_path / "reply.wav").duration == pytest.approx(0.5)
    lines = [orjson.loads(line) for line in (tmp_path / "face.jsonl").read_bytes().splitlines()]
    assert lines[0]["names"] == ["JawOpen", "MouthClose"]
    assert len(lines) == len(exchange.frames) + 1


async def test_a_fault_of_the_turn_is_told(tmp_path: Path) -> None:
    async with scripted_engines() as engines, served(engines) as sophia:
        engines.nova.answer = []
        engines.recognition.final("what is up")
        pcm = read_wav(wav(tmp_path / "a.wav", 0.3))
        exchange = Exchange()
        with pytest.raises(PeerError, match="peer_protocol"):
            await talk.talk(f"ws://{sophia.address}/sophia/voice", pcm, exchange=exchange)
    assert [turn.outcome for turn in exchange.turns] == ["failed"]


async def test_a_question_over_the_reply_is_waited_for(tmp_path: Path) -> None:
    """`interrupted`, the silence behind the speech and its `turn.metrics` do not yet end the conversation."""
    question = read_wav(ROOT / "samples" / "question.wav")
    async with scripted_engines() as engines, served(engines) as sophia:
        engines.nova.answer = [f" word{index}" for index in range(40)]
        exchange = Exchange()
        conversation = asyncio.create_task(
            talk.talk(f"ws://{sophia.address}/sophia/voice", question, exchange=exchange)
        )
        await engines.recognition.has_received(0.1)
        engines.recognition.final("tell me a story")
        await asyncio.wait_for(engines.synthesis.asked.wait(), 30)
        await engines.recognition.has_received(1.5)  # now the question is being spoken
        engines.nova.answer = ["All right."]
        engines.recognition.interim("stop")
        await engines.recognition.has_received(len(question) / 2 / RATE + 1)  # silence follows it
        engines.recognition.final("stop it")
        async with asyncio.timeout(20):
            await conversation
    first, second = exchange.turns
    assert (first.outcome, second.outcome) == ("interrupted", "done")
    assert list(first.stages)[-1] == "reply_audio"
    assert (first.question, second.question) == ("tell me a story", "stop it")
    assert exchange.answer == "All right."


async def test_a_recording_without_words_ends_with_nothing_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talk, "NOTHING_SAID_S", 0.3)
    async with scripted_engines() as engines, served(engines) as sophia:
        with pytest.raises(AudioError, match="nothing was said"):
            await talk.talk(f"ws://{sophia.address}/sophia/voice", read_wav(wav(tmp_path / "a.wav", 0.3)))


async def test_nobody_there_and_nothing_of_the_kind_there() -> None:
    with pytest.raises(PeerUnavailable, match="voxloop up"):
        await talk.talk(f"ws://127.0.0.1:{free_port()}/sophia/voice", bytes(640))
    async with scripted_engines() as engines, served(engines) as sophia:
        with pytest.raises(PeerRefused):
            await talk.talk(f"ws://{sophia.address}/elsewhere", bytes(640))
    with pytest.raises(PeerRefused):
        await talk.talk("not an address", bytes(640))


async def test_a_server_of_another_kind_is_told_as_such() -> None:
    async with scripted_engines() as engines:
        with pytest.raises(PeerProtocol, match="no WebSocket"):
            await talk.talk(f"ws://{engines.addresses['riva']}/sophia/voice", bytes(640))


async def test_a_wrong_key_is_told_with_where_to_give_the_right_one() -> None:
    async with scripted_engines() as engines, served(engines, api_keys="right-key-0123456789") as sophia:
        with pytest.raises(PeerRefused, match=r"401.*VOXLOOP_API_KEY"):
            await talk.talk(f"ws://{sophia.address}/sophia/voice", bytes(640), api_key="wrong")


def test_a_moment_of_sound_has_an_end() -> None:
    for pcm in (b"\x00\x40" * 50, bytes(RATE) + b"\x00\x40" * 40):
        assert end_of_speech(pcm) == len(pcm)


def test_an_unfinished_turn_says_what_is_missing() -> None:
    assert Exchange().shortcomings() == [
        "no words were recognised",
        "there is no answer",
        "the reply is silent",
    ]
