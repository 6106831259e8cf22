"""Sound that is longer than Audio2Face takes, against a face server that takes little."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest

from services.aurora import rotation
from services.aurora.audio2face import Audio2Face, Frame
from services.aurora.rotation import LongStream
from shared.audio import RATE
from shared.channels import Endpoint
from shared.errors import PeerProtocol
from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraStub
from tests.fixtures import face
from tests.fixtures.face import Audio2FaceServer, AuroraServer, aurora_server, face_server
from tests.services.aurora.conftest import (
    END,
    SUCCESS,
    animate,
    audio,
    face_frame,
    face_header,
    phones,
    scripted_face,
    start,
)

if TYPE_CHECKING:  # the stubs know the kind for asyncio, the module does not
    from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraAsyncStub

SENTENCE = face.vowel(1.5) + face.silence(0.5)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audio2FaceServer]:
    """Refuses a stream of more than 3.5 s."""
    with face_server(tmp_path_factory.mktemp("strict"), max_clip_s="3.5") as server:
        yield server


@pytest.fixture(scope="module")
def rotating(strict: Audio2FaceServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuroraServer]:
    folder = tmp_path_factory.mktemp("rotating")
    with aurora_server(folder, strict.target, rotate_s="1.2", trailing_silence_ms="300") as server:
        yield server


@pytest.mark.parametrize("rate", [16000, 22050])
async def test_a_turn_longer_than_a_stream_is_animated_whole(
    rotating: AuroraServer, stub: AuroraAsyncStub, rate: int
) -> None:
    sound = (face.vowel(1.5, rate) + face.silence(0.5, rate)) * 6
    before = rotating.metrics.value("voxloop_aurora_rotations_total")
    async with grpc.aio.insecure_channel(rotating.target) as channel:
        shown = await animate(AuroraStub(channel), [start(rate), *audio(sound, rate // 5), END])
    assert rotating.metrics.value("voxloop_aurora_rotations_total") >= before + 4
    assert shown.times_ms == pytest.approx([1000 * number / 30 for number in range(360)], abs=0.01)
    jaw = shown.shape("JawOpen")
    for sentence in range(6):  # each opens the mouth where its sound is, and nowhere else
        assert max(jaw[60 * sentence + 10 : 60 * sentence + 40]) > 0.2
        assert max(jaw[60 * sentence + 54 : 60 * sentence + 59]) < 0.1
    shutting = (await animate(stub, [start(rate), *audio(sound, rate // 5), END])).shape("JawOpen")[43:50]
    for sentence in range(6):  # no end of a stream shuts it at once
        assert jaw[60 * sentence + 43 : 60 * sentence + 50] == pytest.approx(shutting, abs=0.1)


async def test_an_emotion_outlives_the_seam(rotating: AuroraServer) -> None:
    async with grpc.aio.insecure_channel(rotating.target) as channel:
        shown = await animate(AuroraStub(channel), [start(joy=1.0), *audio(SENTENCE * 4, 6400), END])
        plain = await animate(AuroraStub(channel), [start(), *audio(SENTENCE * 4, 6400), END])
    smile = [a - b for a, b in zip(shown.shape("MouthSmileLeft"), plain.shape("MouthSmileLeft"), strict=True)]
    assert min(smile[30:230]) > 0.1


async def test_without_a_pause_it_rotates_all_the_same(
    strict: Audio2FaceServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "PATIENCE_S", 1.0)
    frames = await animated(strict.target, face.vowel(8), rotate_s=1.5)
    assert [frame.t_s for frame in frames[:240]] == pytest.approx([k / 30 for k in range(240)], abs=1e-5)


async def test_a_face_that_changes_its_names_in_the_middle_is_a_liar() -> None:
    streams = 0

    async def script(context: Any) -> None:
        nonlocal streams
        streams += 1
        name = f"Jaw{streams}"
        while await context.read() != grpc.aio.EOF:
            pass
        for response in (face_header(name), face_frame(0.0, 0.5), SUCCESS):
            await context.write(response)

    async with scripted_face(script) as target:
        with pytest.raises(PeerProtocol, match="other blendshapes"):
            await animated(target, SENTENCE * 2, rotate_s=1.0)


async def animated(target: str, pcm: bytes, rotate_s: float) -> list[Frame]:
    audio2face = Audio2Face(Endpoint("audio2face", target), write_timeout_s=5, frame_timeout_s=5)
    frames: list[Frame] = []
    try:
        async with LongStream(audio2face.stream, {}, rotate_s) as stream:

            async def speak() -> None:
                for at in range(0, len(pcm), RATE // 5):
                    await stream.send(pcm[at : at + RATE // 5])
                await stream.end()

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(speak())
                frames.extend([part async for part in stream.parts() if isinstance(part, Frame)])
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    finally:
        await audio2face.close()
    return frames


async def test_phones_are_told_on_both_sides_of_a_seam_in_the_time_of_each(rotating: AuroraServer) -> None:
    """Told at once before the sound, a closure in every second of it; each stream holds some two seconds."""
    closures = [1000 * second + 500 for second in range(12)]
    marks = [(label, at, at + 100) for time in closures for label, at in (("ɑ", time - 100), ("m", time))]
    rotations = rotating.metrics.value("voxloop_aurora_rotations_total")
    async with grpc.aio.insecure_channel(rotating.target) as channel:
        stub: AuroraAsyncStub = AuroraStub(channel)
        await animate(
            stub, [start(), *audio(face.silence(0.1)), END]
        )  # now aurora knows that it takes phones
        shown = await animate(stub, [start(), phones(*marks), *audio(SENTENCE * 6, 3200), END])
    assert rotating.metrics.value("voxloop_aurora_rotations_total") >= rotations + 4
    press = shown.shape("MouthPressLeft")
    seen = [time for time, weight in zip(shown.times_ms, press, strict=True) if weight > 0.4]
    assert {round((time - 550) / 1000) for time in seen} == set(range(12))
    assert all(abs((time - 550 + 500) % 1000 - 500) <= 60 for time in seen)
