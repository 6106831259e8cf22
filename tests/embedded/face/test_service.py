"""ProcessAudioStream as Audio2Face-3D's public clients speak it, over the wire."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from shared.phones import TAKEN, said
from shared.verdict import Verdict
from shared.wire.audio2face import audio_pb2, messages_pb2, status_pb2
from shared.wire.audio2face.controller_pb2_grpc import A2FControllerServiceStub
from shared.wire.face.v1 import face_pb2
from tests.fixtures import face
from tests.fixtures.face import Audio2FaceServer, Metrics, face_server

if TYPE_CHECKING:  # the stubs know the kind for asyncio, the module does not
    from shared.wire.audio2face.controller_pb2_grpc import A2FControllerServiceAsyncStub

Request = messages_pb2.AudioWithEmotionStream
Response = messages_pb2.A2F3DAnimationDataStream
Header = messages_pb2.AudioWithEmotionStreamHeader
END = Request(end_of_audio=Request.EndOfAudio())
MOUTH = ("Jaw", "Mouth", "Tongue")


@dataclass
class Answer:
    """What a server sent until it ended the call."""

    kinds: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    weights: list[list[float]] = field(default_factory=list)
    audio: bytes = b""
    statuses: list[status_pb2.Status] = field(default_factory=list)

    def take(self, message: Response) -> None:
        kind = message.WhichOneof("stream_part") or ""
        if [kind] != self.kinds[-1:]:
            self.kinds.append(kind)
        if kind == "animation_data_stream_header":
            self.names += message.animation_data_stream_header.skel_animation_header.blend_shapes
        for pose in message.animation_data.skel_animation.blend_shape_weights:
            self.times.append(pose.time_code)
            self.weights.append(list(pose.values))
        self.audio += message.animation_data.audio.audio_buffer
        if kind == "status":
            self.statuses.append(message.status)

    def shape(self, name: str) -> list[float]:
        index = self.names.index(name)
        return [weights[index] for weights in self.weights]

    def mouth(self, frame: int) -> float:
        """The strongest weight of the mouth in one frame."""
        return max(
            w for name, w in zip(self.names, self.weights[frame], strict=True) if name.startswith(MOUTH)
        )


def header(rate: int = 16000, **changes: int) -> Header:
    audio = {"channel_count": 1, "samples_per_second": rate, "bits_per_sample": 16} | changes
    return Header(audio_header=audio_pb2.AudioHeader(**audio))  # type: ignore[arg-type]


def opened(rate: int = 16000, **changes: int) -> Request:
    return Request(audio_stream_header=header(rate, **changes))


def sound(pcm: bytes) -> Request:
    return Request(audio_with_emotion=messages_pb2.AudioWithEmotion(audio_buffer=pcm))


def cut(pcm: bytes, seconds: float, rate: int = 16000) -> list[Request]:
    size = 2 * round(seconds * rate)
    return [sound(pcm[start : start + size]) for start in range(0, len(pcm), size)]


async def converse(
    stub: A2FControllerServiceAsyncStub, requests: Iterable[Request], pause_s: float = 0.0
) -> Answer:
    async def asked() -> AsyncIterator[Request]:
        for request in requests:
            yield request
            await asyncio.sleep(pause_s)

    answer = Answer()
    call = stub.ProcessAudioStream(asked(), timeout=30)
    verdict = Verdict(call)
    try:
        async for message in call:
            answer.take(message)
    except grpc.aio.AioRpcError as error:
        raise await verdict.of(error) from None
    return answer


@pytest.fixture(scope="session")
async def stub(audio2face: Audio2FaceServer) -> AsyncIterator[A2FControllerServiceAsyncStub]:
    async with grpc.aio.insecure_channel(audio2face.target) as channel:
        yield A2FControllerServiceStub(channel)


async def refusal(stub: A2FControllerServiceAsyncStub, *requests: Request) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await converse(stub, requests)
    return caught.value


@pytest.mark.parametrize("seconds", [1.0, 0.04, 0.0013])
async def test_a_burst_gets_header_frames_event_and_success_in_this_order(
    stub: A2FControllerServiceAsyncStub, seconds: float
) -> None:
    pcm = face.vowel(2) + face.silence(0.5)
    answer = await converse(stub, [opened(), *cut(pcm, seconds), END])
    assert answer.kinds == ["animation_data_stream_header", "animation_data", "event", "status"]
    assert len(answer.names) == 52
    assert [status.code for status in answer.statuses] == [status_pb2.Status.SUCCESS]
    assert len(answer.weights) == 75
    assert answer.audio == pcm


async def test_sound_in_real_time_is_animated_while_it_comes(stub: A2FControllerServiceAsyncStub) -> None:
    call = stub.ProcessAudioStream(timeout=30)
    await call.write(opened())
    answer = Answer()
    for number, piece in enumerate(cut(face.vowel(1), 0.04), 1):
        await call.write(piece)
        # The frames of what lies more than 65 ms back are there before the next piece is sent.
        while len(answer.times) < math.floor((number * 0.04 - 0.065) * 30) + 1:
            message = await call.read()
            assert isinstance(message, Response)
            answer.take(message)
    call.cancel()
    assert len(answer.times) == 29


@pytest.mark.parametrize("rate", [16000, 44100, 48000, 144000])
async def test_time_codes_are_those_of_30_frames_a_second_at_any_rate(
    stub: A2FControllerServiceAsyncStub, rate: int
) -> None:
    answer = await converse(stub, [opened(rate), *cut(face.vowel(1.3, rate), 0.5, rate), END])
    assert answer.times == pytest.approx([number / 30 for number in range(39)])


async def test_the_mouth_is_open_in_a_vowel_and_closed_in_silence_and_at_the_end(
    stub: A2FControllerServiceAsyncStub,
) -> None:
    answer = await converse(
        stub, [opened(), sound(face.silence(0.5) + face.vowel(1) + face.silence(0.5) + face.vowel(0.5)), END]
    )
    jaw = answer.shape("JawOpen")
    assert min(jaw[18:42]) > 0.3
    assert max(answer.mouth(frame) for frame in range(14)) < 0.01
    assert max(answer.mouth(frame) for frame in range(55, 58)) < 0.05
    assert answer.mouth(-1) < 0.01


async def test_a_recorded_voice_moves_the_mouth_more_than_its_pauses_do(
    stub: A2FControllerServiceAsyncStub, clips: Path
) -> None:
    pcm = (clips / "jfk.wav").read_bytes()[44:]
    answer = await converse(stub, [opened(), *cut(pcm, 1.0), END])
    jaw = answer.shape("JawOpen")
    assert len(jaw) == pytest.approx(len(pcm) / 32000 * 30, abs=1)
    assert sum(value > 0.3 for value in jaw) > 0.2 * len(jaw)
    assert sum(value < 0.05 for value in jaw) > 0.2 * len(jaw)


async def test_streams_at_once_do_not_mix(stub: A2FControllerServiceAsyncStub) -> None:
    loud, quiet = await asyncio.gather(
        converse(stub, [opened(), *cut(face.vowel(2), 0.04), END], 0.001),
        converse(stub, [opened(), *cut(face.silence(2), 0.04), END], 0.001),
    )
    assert max(loud.shape("JawOpen")) > 0.3
    assert max(quiet.shape("JawOpen")) == 0
    assert loud.audio == face.vowel(2)
    assert not any(quiet.audio)


async def test_emotions_show_from_their_time_on_and_unknown_ones_are_warned_of(
    stub: A2FControllerServiceAsyncStub,
) -> None:
    change = messages_pb2.EmotionWithTimeCode(time_code=1.0, emotion={"joy": 1.0, "hunger": 1.0})
    speech = messages_pb2.AudioWithEmotion(audio_buffer=face.silence(2), emotions=[change])
    answer = await converse(stub, [opened(), Request(audio_with_emotion=speech), END])
    smile = answer.shape("MouthSmileLeft")
    assert max(smile[:30]) == 0
    assert smile[-1] > 0.2
    assert [status.code for status in answer.statuses] == [
        status_pb2.Status.WARNING,
        status_pb2.Status.SUCCESS,
    ]


async def test_a_beginning_emotion_and_the_callers_own_weights_are_respected(
    stub: A2FControllerServiceAsyncStub,
) -> None:
    opening = header()
    opening.emotion_params.beginning_emotion["sadness"] = 1.0
    opening.blendshape_params.bs_weight_multipliers["JawOpen"] = 0.0
    opening.blendshape_params.bs_weight_offsets["CheekPuff"] = 0.5
    answer = await converse(stub, [Request(audio_stream_header=opening), sound(face.vowel(1)), END])
    assert answer.shape("MouthFrownLeft")[-1] > 0.2
    assert max(answer.shape("JawOpen")) == 0
    assert set(answer.shape("CheekPuff")) == {0.5}


def told(piece: Request, *phones: tuple[str, float, float]) -> Request:
    """Label, start and end in s, in the field that NVIDIA's protocol does not have."""
    timing = face_pb2.Timing()
    for label, start_s, end_s in phones:
        timing.phones.add(label=label, start_s=start_s, end_s=end_s)
    return Request.FromString(piece.SerializeToString() + timing.SerializeToString())


async def test_phones_that_come_with_the_sound_are_shown(stub: A2FControllerServiceAsyncStub) -> None:
    first, second, *rest = cut(face.vowel(1), 0.25)
    closures = (("p", 0.15, 0.25), ("ɑ", 0.25, 0.45), ("m", 0.45, 0.55), ("ɑ", 0.55, 0.7))
    answer = await converse(stub, [opened(), told(first, *closures), second, *rest, END])
    press = answer.shape("MouthPressLeft")
    assert [frame for frame, weight in enumerate(press) if weight > 0.4] == [5, 6, 7, 14, 15, 16]
    assert [status.code for status in answer.statuses] == [status_pb2.Status.SUCCESS]
    call = stub.ProcessAudioStream(timeout=30)
    assert said(TAKEN, await call.initial_metadata())
    call.cancel()


async def test_words_that_come_with_the_sound_are_shown(stub: A2FControllerServiceAsyncStub) -> None:
    first, *rest = cut(face.vowel(1), 0.25)
    timing = face_pb2.Timing(words=[face_pb2.Mark(label="mop", start_s=0.3, end_s=0.7)])
    spoken = Request.FromString(first.SerializeToString() + timing.SerializeToString())
    press = (await converse(stub, [opened(), spoken, *rest, END])).shape("MouthPressLeft")
    assert [frame for frame, weight in enumerate(press) if weight > 0.4] == [10, 11, 12, 18, 19, 20]


async def test_phones_that_cannot_be_are_named_and_the_rest_goes_on(
    stub: A2FControllerServiceAsyncStub, audio2face: Audio2FaceServer
) -> None:
    unknown = audio2face.metrics.value("voxloop_face_marks_total", outcome="unknown")
    first, *rest = cut(face.vowel(1), 0.25)
    bad = (("?", 0.1, 0.2), ("!", 0.1, 0.2), ("m", math.nan, 0.2), ("m", -1, 0.2), ("m", 0.2, 0.1))
    last = told(sound(face.vowel(0.25)), ("m", 0.1, 0.2))
    answer = await converse(stub, [opened(), told(first, *bad), *rest, last, END])
    plain = await converse(stub, [opened(), *cut(face.vowel(1.25), 0.25), END])
    assert len(answer.weights) == len(plain.weights)
    warning, success = answer.statuses
    assert warning.message == (
        "phones or words were passed over: 2 unknown, 2 no span of time, 1 not a number, 1 too late"
    )
    assert success.code == status_pb2.Status.SUCCESS
    assert audio2face.metrics.value("voxloop_face_marks_total", outcome="unknown") == unknown + 2


@pytest.mark.parametrize(
    "rest",
    [
        b"\xc8\xa9\x07\x05",  # the field as a number
        b"\xca\xa9\x07\x02\xff\xff",  # no message in it
        b"\xca\xa9\x07\x03\x0a\x01\xff",  # a label that is no text
        b"\xd2\xa9\x07\x03abc",  # another field
    ],
)
async def test_a_field_that_is_not_what_it_should_be_does_not_end_the_stream(
    stub: A2FControllerServiceAsyncStub, rest: bytes
) -> None:
    piece = Request.FromString(sound(face.vowel(1)).SerializeToString() + rest)
    answer = await converse(stub, [opened(), piece, END])
    assert len(answer.weights) == 30
    assert answer.statuses[-1].code == status_pb2.Status.SUCCESS


async def test_a_million_phones_hold_nobody_up_for_long(stub: A2FControllerServiceAsyncStub) -> None:
    flood = told(sound(face.vowel(0.5)), *(("m", at / 1e3, (at + 1) / 1e3) for at in range(1_000_000)))
    answer = await converse(stub, [opened(), flood, sound(face.vowel(0.5)), END])
    assert len(answer.weights) == 30
    assert "too many" in answer.statuses[0].message


async def test_no_sound_at_all_is_a_success_without_frames(stub: A2FControllerServiceAsyncStub) -> None:
    answer = await converse(stub, [opened(), END])
    assert answer.kinds == ["animation_data_stream_header", "event", "status"]


@pytest.mark.parametrize(
    ("requests", "named"),
    [
        ([sound(b"\0\0")], "the first message must be audio_stream_header"),
        ([Request()], "the first message must be audio_stream_header"),
        ([opened(bits_per_sample=32)], "bits_per_sample must be 16"),
        ([opened(channel_count=2)], "channel_count must be 1"),
        ([opened(8000)], "within 16000..144000"),
        ([opened(), opened()], "only audio_with_emotion and end_of_audio"),
        ([opened(), Request()], "only audio_with_emotion and end_of_audio"),
        ([opened(), sound(b"\0\0\0")], "odd number of bytes"),
        ([opened(), sound(face.silence(10.1))], "at most 10 s"),
    ],
)
async def test_what_breaks_the_protocol_is_refused_with_its_reason(
    stub: A2FControllerServiceAsyncStub, requests: list[Request], named: str
) -> None:
    error = await refusal(stub, *requests)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert named in (error.details() or "")


async def test_a_stream_without_end_of_audio_gets_no_success(
    stub: A2FControllerServiceAsyncStub, audio2face: Audio2FaceServer
) -> None:
    cancelled = ended(audio2face, "cancelled")
    error = await refusal(stub, opened(), sound(face.vowel(1)))
    assert error.code() is grpc.StatusCode.CANCELLED
    await audio2face.metrics.becomes(lambda m: ended_in(m, "cancelled") == cancelled + 1)


async def test_a_cancelled_call_ends_the_work_at_once(
    stub: A2FControllerServiceAsyncStub, audio2face: Audio2FaceServer
) -> None:
    cancelled = ended(audio2face, "cancelled")
    call = stub.ProcessAudioStream(timeout=30)
    await call.write(opened())
    await call.read()
    assert audio2face.metrics.value("voxloop_face_active_streams") == 1
    call.cancel()
    await audio2face.metrics.becomes(lambda m: m.value("voxloop_face_active_streams") == 0)
    assert ended(audio2face, "cancelled") == cancelled + 1


def ended(server: Audio2FaceServer, outcome: str) -> float:
    return ended_in(server.metrics, outcome)


def ended_in(metrics: Metrics, outcome: str) -> float:
    return metrics.value("voxloop_face_streams_total", outcome=outcome)


async def test_one_stream_too_many_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    with face_server(tmp_path, max_streams="2") as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            stub: A2FControllerServiceAsyncStub = A2FControllerServiceStub(channel)
            calls = [stub.ProcessAudioStream(timeout=30) for _ in range(2)]
            for call in calls:
                await call.write(opened())
                await call.read()
            error = await refusal(stub, opened())
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            for call in calls:
                await call.write(END)
                rest = Answer()
                while isinstance(message := await call.read(), Response):
                    rest.take(message)
                assert rest.kinds == ["event", "status"]


async def test_a_stream_longer_than_its_limit_is_refused(tmp_path: Path) -> None:
    with face_server(tmp_path, max_clip_s="2") as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            error = await refusal(
                A2FControllerServiceStub(channel), opened(), *cut(face.silence(2), 1), sound(bytes(2))
            )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "longer than 2 s" in (error.details() or "")


async def test_an_idle_client_is_cut_off(tmp_path: Path) -> None:
    with face_server(tmp_path, idle_timeout_s="0.2") as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            call = A2FControllerServiceStub(channel).ProcessAudioStream(timeout=30)
            with pytest.raises(grpc.aio.AioRpcError, match=r"nothing came for 0\.2 s") as caught:  # noqa: PT012 - which sees it
                await call.write(opened())
                while True:
                    await call.read()
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_client_that_takes_no_frames_is_cut_off(tmp_path: Path) -> None:
    with face_server(tmp_path, write_timeout_s="0.2") as server:
        async with grpc.aio.insecure_channel(
            server.target, options=[("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16384)]
        ) as channel:
            call = A2FControllerServiceStub(channel).ProcessAudioStream(timeout=30)
            await call.write(opened())
            await call.write(sound(face.vowel(10)))
            await server.metrics.becomes(lambda m: ended_in(m, "refused") == 1)
            assert server.metrics.value("voxloop_face_active_streams") == 0
