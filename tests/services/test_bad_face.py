"""An Audio2Face that is dead, hangs or lies, as the voice meets it: sophia and aurora over the wire.

The voice goes on, the fault is counted and named, and the next reply has a face once Audio2Face is well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from services.aurora.audio2face import Frame
from shared.audio import duration_s
from shared.process import free_port
from tests.fixtures import face
from tests.fixtures.face import AuroraServer, aurora_server
from tests.services.aurora.conftest import SUCCESS, face_frame, face_header, scripted_face
from tests.services.sophia.conftest import Client, served
from tests.services.sophia.engines import scripted_engines

NAMES = ("JawOpen", "MouthClose")
NO_NUMBER = float("nan")
Lie = Callable[[Iterator[Frame]], Iterator[Frame]]


def honest(frames: Iterator[Frame]) -> Iterator[Frame]:
    return frames


def too_many_weights(frames: Iterator[Frame]) -> Iterator[Frame]:
    return (replace(frame, weights=(0.5, 0.5, 0.5)) for frame in frames)


def no_number(frames: Iterator[Frame]) -> Iterator[Frame]:
    return (replace(frame, weights=(NO_NUMBER, 0.0)) for frame in frames)


def backwards(frames: Iterator[Frame]) -> Iterator[Frame]:
    return iter(list(frames)[::-1])


def too_few(frames: Iterator[Frame]) -> Iterator[Frame]:
    return iter(list(frames)[:3])


def one_for_ever(frames: Iterator[Frame]) -> Iterator[Frame]:
    frame = next(frames)
    while True:
        yield frame


def hung(frames: Iterator[Frame]) -> None:
    """Hears everything and answers nothing."""


class Audio2Face:
    """Answers each stream at its end, in the way of its present character."""

    def __init__(self) -> None:
        self.lie: Lie | Callable[[Iterator[Frame]], None] = honest

    async def __call__(self, context: Any) -> None:
        pcm = b""
        while (message := await context.read()) != grpc.aio.EOF:
            pcm += message.audio_with_emotion.audio_buffer
        frames = (Frame(number / 30, (0.5, 0.0)) for number in range(round(duration_s(pcm) * 30)))
        told = self.lie(frames)
        if told is None:
            await asyncio.Event().wait()
            return
        await context.write(face_header(*NAMES))
        for frame in told:
            await context.write(face_frame(frame.t_s, *frame.weights))
        await context.write(SUCCESS)


@asynccontextmanager
async def speaking(aurora: AuroraServer) -> AsyncIterator[Client]:
    """A session whose replies are animated by this aurora."""
    async with scripted_engines() as engines:
        engines.addresses["aurora"] = aurora.target
        engines.nova.answer = ["This lasts longer than a face may hang."]
        async with served(engines) as sophia, sophia.session(animation=True) as client:
            yield client


async def reply(client: Client) -> tuple[list[dict[str, Any]], bytes, int]:
    """One turn: its errors, its sound, and how many frames came with it."""
    before = len(client.events)
    await client.send(type="text", text="hello")
    await client.until("reply.done")
    events = client.events[before:]
    sound = b"".join(event["pcm"] for event in events if event["type"] == "audio")
    frames = sum(event["type"] == "animation" for event in events)
    return [event for event in events if event["type"] == "error"], sound, frames


@pytest.mark.parametrize(
    ("lie", "code", "named"),
    [
        (hung, "peer_timeout", "owes frames and sends none"),
        (one_for_ever, "peer_timeout", "owes frames and sends none"),
        (too_many_weights, "peer_protocol", "sent 3 weights for 2 names"),
        (no_number, "peer_protocol", "a weight or time that is no number"),
        (backwards, "peer_protocol", "after one for"),
        (too_few, "peer_protocol", "frames too few for the sound"),
    ],
)
async def test_a_face_that_hangs_or_lies_costs_its_own_turn_and_no_word(
    tmp_path: Path, lie: Lie, code: str, named: str
) -> None:
    audio2face = Audio2Face()
    async with scripted_face(audio2face) as target:
        with aurora_server(tmp_path, target, frame_timeout_s="1") as aurora:
            async with speaking(aurora) as client:
                faults, whole, frames = await reply(client)
                assert (faults, frames > 0) == ([], True)
                audio2face.lie = lie
                (fault,), sound, _ = await reply(client)
                assert named in fault["message"]
                assert sound == whole
                assert aurora.metrics.value("voxloop_aurora_peer_errors_total", code=code) == 1
                audio2face.lie = honest
                assert await reply(client) == ([], whole, frames)
    assert named in (tmp_path / "aurora.log").read_text()


async def test_a_dead_face_costs_no_word_and_comes_back_with_its_server(tmp_path: Path) -> None:
    port = free_port()
    with aurora_server(tmp_path, f"127.0.0.1:{port}") as aurora:
        async with speaking(aurora) as client:
            (fault,), whole, frames = await reply(client)
            assert (fault["code"], fault["retryable"], frames) == ("peer_unavailable", True, 0)
            assert whole
            assert aurora.metrics.value("voxloop_aurora_peer_errors_total", code="peer_unavailable") == 1
            with face.face_server(tmp_path, port=str(port)):
                await aurora.metrics.becomes(lambda _: face.answers(f"{aurora.http}/readyz"))
                faults, sound, frames = await reply(client)
                assert (faults, sound, frames > 0) == ([], whole, True)
    assert "audio2face" in (tmp_path / "aurora.log").read_text()
