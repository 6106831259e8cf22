"""The client of Audio2Face, against the face server and against faces that lie, hang or refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from services.aurora.audio2face import Audio2Face, Frame, Names
from shared.channels import Endpoint
from shared.errors import (
    PeerCertificate,
    PeerError,
    PeerProtocol,
    PeerRefused,
    PeerTimeout,
    PeerUnavailable,
)
from shared.phones import TAKEN, Phone
from shared.process import free_port
from shared.tls import CertificateFiles, ensure_certificates
from shared.wire.audio2face import status_pb2
from shared.wire.face.v1 import face_pb2
from tests.fixtures import face
from tests.fixtures.face import Audio2FaceServer, face_server
from tests.services.aurora.conftest import (
    SUCCESS,
    FaceResponse,
    answers,
    face_frame,
    face_header,
    face_status,
    scripted_face,
)


def client(target: str, timeout_s: float = 5.0, **endpoint: Any) -> Audio2Face:
    return Audio2Face(
        Endpoint("audio2face", target, **endpoint), write_timeout_s=timeout_s, frame_timeout_s=timeout_s
    )


async def animated(audio2face: Audio2Face, pcm: bytes, emotion: str = "") -> list[Names | Frame]:
    try:
        async with audio2face.stream({emotion: 1.0} if emotion else {}) as stream:
            await stream.send(pcm)
            await stream.end()
            return [part async for part in stream.parts()]
    finally:
        await audio2face.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return ensure_certificates(tmp_path_factory.mktemp("tls"))


async def test_names_come_first_then_a_frame_for_each_30th_of_a_second(audio2face: Audio2FaceServer) -> None:
    names, *frames = await animated(client(audio2face.target), face.vowel(12))
    assert isinstance(names, Names)
    assert len(names.blendshapes) == 52
    assert [frame.t_s for frame in frames if isinstance(frame, Frame)] == pytest.approx(
        [number / 30 for number in range(360)]
    )


async def test_emotions_reach_the_face(audio2face: Audio2FaceServer) -> None:
    names, *_, last = await animated(client(audio2face.target), face.silence(1), "joy")
    assert isinstance(names, Names)
    assert isinstance(last, Frame)
    assert last.weights[names.blendshapes.index("MouthSmileLeft")] > 0.2


async def test_an_emotion_holds_from_the_sound_that_it_comes_with(audio2face: Audio2FaceServer) -> None:
    audio2face_client = client(audio2face.target)
    async with audio2face_client.stream({}) as stream:
        await stream.send(face.silence(1))
        await stream.send(face.silence(1), {"joy": 1.0})
        await stream.end()
        names, *frames = [part async for part in stream.parts()]
    await audio2face_client.close()
    assert isinstance(names, Names)
    smile = names.blendshapes.index("MouthSmileLeft")
    weights = [frame.weights[smile] for frame in frames if isinstance(frame, Frame)]
    assert max(weights[:30]) == 0
    assert weights[-1] > 0.2


async def test_leaving_early_stops_the_work_in_audio2face(audio2face: Audio2FaceServer) -> None:
    cancelled = audio2face.metrics.value("voxloop_face_streams_total", outcome="cancelled")
    audio2face_client = client(audio2face.target)
    async with audio2face_client.stream({}) as stream:
        await stream.send(face.vowel(1))
        await anext(stream.parts())
        assert audio2face.metrics.value("voxloop_face_active_streams") == 1
    await audio2face.metrics.becomes(lambda m: m.value("voxloop_face_active_streams") == 0)
    assert audio2face.metrics.value("voxloop_face_streams_total", outcome="cancelled") == cancelled + 1
    await audio2face_client.close()


async def test_the_probe_has_a_moment_of_silence_animated(audio2face: Audio2FaceServer) -> None:
    frames = audio2face.metrics.value("voxloop_face_frames_total")
    audio2face_client = client(audio2face.target)
    await audio2face_client.probe()
    await audio2face_client.close()
    assert audio2face.metrics.value("voxloop_face_frames_total") == frames + 1


async def closure_shown(audio2face_client: Audio2Face, phones: list[Phone]) -> float:
    """How far the lips are pressed together 0.5 s into a vowel."""
    async with audio2face_client.stream({}) as stream:
        stream.tell(phones)
        await stream.send(face.vowel(1))
        await stream.end()
        names, *frames = [part async for part in stream.parts()]
    assert isinstance(names, Names)
    frame = frames[15]
    assert isinstance(frame, Frame)
    return frame.weights[names.blendshapes.index("MouthPressLeft")]


CLOSURE = [Phone(0.3, 0.45, "ɑ"), Phone(0.45, 0.55, "m"), Phone(0.55, 0.7, "ɑ")]


async def test_phones_are_shown_by_a_face_that_says_that_it_takes_them(audio2face: Audio2FaceServer) -> None:
    audio2face_client = client(audio2face.target)
    await audio2face_client.probe()
    assert audio2face_client.takes_marks
    assert await closure_shown(audio2face_client, CLOSURE) > 0.4
    assert await closure_shown(audio2face_client, []) < 0.1
    await audio2face_client.close()


@pytest.mark.parametrize("says", [(), (TAKEN,)])
async def test_a_face_is_sent_phones_only_if_it_says_so(says: tuple[tuple[str, str], ...]) -> None:
    """NVIDIA's says nothing, and gets what its protocol has and not a byte besides."""
    heard: list[bytes] = []

    async def script(context: Any) -> None:
        await context.send_initial_metadata(says)
        await context.write(HEADER)
        while (message := await context.read()) != grpc.aio.EOF:
            known = type(message)()
            known.CopyFrom(message)
            known.DiscardUnknownFields()
            heard.append(message.SerializeToString()[known.ByteSize() :])
        await context.write(face_frame(0, 1, 0))
        await context.write(SUCCESS)

    async with scripted_face(script) as target:
        audio2face_client = client(target)
        for _ in range(2):
            async with audio2face_client.stream({}) as stream:
                stream.tell(CLOSURE)
                await stream.send(face.silence(0.2))
                await stream.send(face.silence(0.2))
                await stream.end()
                [part async for part in stream.parts()]
        await audio2face_client.close()
    told = [face_pb2.Timing.FromString(rest).phones for rest in heard if rest]
    assert len(heard) == 8
    assert [[phone.label for phone in phones] for phones in told] == [["ɑ", "m", "ɑ"]] * len(says)


async def test_phones_whose_sound_is_sent_already_are_told_no_more(audio2face: Audio2FaceServer) -> None:
    audio2face_client = client(audio2face.target)
    await audio2face_client.probe()
    used = audio2face.metrics.value("voxloop_face_marks_total", outcome="used")
    async with audio2face_client.stream({}) as stream:
        await stream.send(face.vowel(1))
        stream.tell([*CLOSURE, Phone(0.95, 1.05, "m")])
        await stream.send(face.vowel(0.5))
        await stream.end()
        [part async for part in stream.parts()]
    await audio2face_client.close()
    assert audio2face.metrics.value("voxloop_face_marks_total", outcome="used") == used + 1


HEADER = face_header("JawOpen", "MouthClose")
NO_NUMBER = float("nan")


@pytest.mark.parametrize(
    ("responses", "named"),
    [
        ([HEADER, face_frame(0, 0.5)], "1 weights for 2 names"),
        ([face_frame(0, 0.5, 0.5)], "2 weights for 0 names"),
        ([HEADER, face_frame(0, 0.5, NO_NUMBER)], "no number"),
        ([HEADER, face_frame(NO_NUMBER, 0.5, 0.5)], "no number"),
        ([HEADER, face_frame(-0.1, 0, 0)], r"a frame for -0\.100 s after one for 0\.000 s"),
        ([HEADER, face_frame(0.1, 0, 0), face_frame(0.05, 0, 0)], r"for 0\.050 s after one for 0\.100 s"),
        ([HEADER, face_frame(9.0, 0, 0)], r"for 9\.000 s .* of 0\.200 s of sound"),
        ([HEADER, HEADER], "second header"),
        ([face_header()], "without names"),
        ([face_header("JawOpen", "JawOpen")], "a name twice"),
        ([HEADER, face_frame(0, 0, 0)], "without a final status"),
        ([], "without a final status"),
    ],
)
async def test_a_face_that_lies_is_found_out(responses: list[FaceResponse], named: str) -> None:
    async with scripted_face(answers(*responses)) as target:
        with pytest.raises(PeerProtocol, match=named):
            await animated(client(target), face.silence(0.2))


async def test_a_face_that_is_done_before_the_sound_is_found_out() -> None:
    async def script(context: Any) -> None:
        await context.read()
        await context.write(HEADER)
        await context.write(SUCCESS)

    async with scripted_face(script) as target:
        audio2face_client = client(target)
        async with audio2face_client.stream({}) as stream:
            await stream.send(face.silence(0.2))
            with pytest.raises(PeerProtocol, match="before the sound had ended"):
                [part async for part in stream.parts()]
        await audio2face_client.close()


async def test_an_error_in_the_stream_is_a_refusal_with_its_message() -> None:
    broken = face_status(status_pb2.Status.ERROR, "the model is gone")
    async with scripted_face(answers(HEADER, broken)) as target:
        with pytest.raises(PeerRefused, match="the model is gone"):
            await animated(client(target), face.silence(0.2))


async def test_a_warning_in_the_stream_changes_nothing() -> None:
    warning = face_status(status_pb2.Status.WARNING, "odd parameters")
    async with scripted_face(answers(HEADER, face_frame(0, 1, 0), warning, SUCCESS)) as target:
        parts = await animated(client(target), face.silence(0.2))
    assert parts == [Names(("JawOpen", "MouthClose")), Frame(0.0, (1.0, 0.0))]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, PeerRefused),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, PeerUnavailable),
        (grpc.StatusCode.UNIMPLEMENTED, PeerProtocol),
    ],
)
async def test_an_abort_is_told_as_what_it_means_while_we_still_write(
    status: grpc.StatusCode, error: type[PeerError]
) -> None:
    async def script(context: Any) -> None:
        await context.read()
        await context.abort(status, "for this reason")

    async with scripted_face(script) as target:
        for _ in range(10):
            with pytest.raises(error, match="for this reason"):
                await animated(client(target), face.silence(30))


async def hang(context: Any) -> None:
    await context.read()
    await asyncio.Event().wait()


async def test_a_face_that_hears_and_never_answers_meets_the_deadline() -> None:
    async def script(context: Any) -> None:
        while await context.read() != grpc.aio.EOF:
            pass
        await asyncio.Event().wait()

    async with scripted_face(script) as target:
        with pytest.raises(PeerTimeout, match="owes frames"):
            await animated(client(target, timeout_s=0.3), face.silence(0.2))


async def test_frames_are_owed_before_the_end_once_enough_sound_is_there() -> None:
    async with scripted_face(hang) as target:
        audio2face_client = client(target, timeout_s=0.3)
        async with audio2face_client.stream({}) as stream:
            reading = asyncio.ensure_future(anext(stream.parts()))
            await stream.send(face.silence(1.5))
            with pytest.raises(PeerTimeout, match="owes frames"):
                await reading
        await audio2face_client.close()


async def test_while_nothing_is_owed_no_deadline_runs() -> None:
    async with scripted_face(hang) as target:
        audio2face_client = client(target, timeout_s=0.1)
        async with audio2face_client.stream({}) as stream:
            reading = asyncio.ensure_future(anext(stream.parts()))
            await stream.send(face.silence(0.5))
            _, waiting = await asyncio.wait({reading}, timeout=0.5)
            assert waiting
            reading.cancel()
        await audio2face_client.close()


async def test_a_face_that_takes_no_sound_meets_the_deadline() -> None:
    async with scripted_face(hang) as target:
        with pytest.raises(PeerTimeout, match="takes no more sound"):
            await animated(client(target, timeout_s=0.3), face.silence(600))


async def test_nobody_there_is_told_as_such() -> None:
    with pytest.raises(PeerUnavailable, match="audio2face"):
        await animated(client(f"127.0.0.1:{free_port()}"), face.silence(0.2))


async def test_over_tls_with_a_client_certificate(tmp_path: Path, certificates: CertificateFiles) -> None:
    files = {
        "tls_cert": str(certificates.cert),
        "tls_key": str(certificates.key),
        "tls_client_ca": str(certificates.ca),
    }
    with face_server(tmp_path, **files) as server:
        mutual = client(
            server.target,
            use_tls=True,
            ca=certificates.ca,
            client_cert=certificates.cert,
            client_key=certificates.key,
        )
        assert len(await animated(mutual, face.silence(1))) == 31


async def test_a_foreign_certificate_is_named(tmp_path: Path, certificates: CertificateFiles) -> None:
    foreign = ensure_certificates(tmp_path / "foreign")
    files = {"tls_cert": str(certificates.cert), "tls_key": str(certificates.key)}
    with (
        face_server(tmp_path, **files) as server,
        pytest.raises(PeerCertificate, match="is not signed by the CA"),
    ):
        await animated(client(server.target, use_tls=True, ca=foreign.ca), face.silence(0.2))


async def test_a_hosted_face_gets_its_metadata() -> None:
    heard: dict[str, str] = {}

    async def script(context: Any) -> None:
        heard.update(context.invocation_metadata())
        await answers(HEADER, SUCCESS)(context)

    sent = (("function-id", "f-1"), ("authorization", "Bearer k"))
    async with scripted_face(script) as target:
        await animated(client(target, metadata=sent), face.silence(0.2))
    assert dict(sent).items() <= heard.items()


@pytest.fixture(autouse=True)
async def _nothing_runs_on(audio2face: Audio2FaceServer) -> AsyncIterator[None]:
    yield
    assert audio2face.metrics.value("voxloop_face_active_streams") == 0
