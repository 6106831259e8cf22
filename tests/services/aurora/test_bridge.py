"""A turn through aurora, over the wire, with the face server behind it."""

from __future__ import annotations

import asyncio
import math
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.process import free_port
from shared.wire.aurora.v1 import aurora_pb2
from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraStub
from tests.fixtures import face
from tests.fixtures.face import Audio2FaceServer, AuroraServer, Metrics, aurora_server, face_server
from tests.fixtures.launch import end
from tests.services.aurora.conftest import (
    END,
    SUCCESS,
    Request,
    Shown,
    animate,
    audio,
    phones,
    scripted_face,
    start,
)
from tests.services.aurora.conftest import answers as face_says
from tests.services.aurora.conftest import face_header as header_of

if TYPE_CHECKING:  # the stubs know the kind for asyncio, the module does not
    from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraAsyncStub

SPEECH = face.silence(0.2) + face.vowel(0.6) + face.hum(0.2) + face.vowel(0.5)  # ends with an open mouth


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
async def test_a_turn_is_a_header_30_frames_a_second_and_done(stub: AuroraAsyncStub, rate: int) -> None:
    shown = await animate(stub, [start(rate), *audio(face.vowel(2.5, rate), 2 * rate // 25), END])
    assert len(shown.names) == 52
    assert shown.times_ms == pytest.approx([1000 * number / 30 for number in range(75)])
    assert shown.done == 75


@given(st.integers(1, 40_000))
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
async def test_the_count_of_frames_fits_any_length(stub: AuroraAsyncStub, samples: int) -> None:
    shown = await animate(stub, [start(), *audio(bytes(2 * samples)), END])
    assert len(shown.times_ms) == max(1, int(samples / 16000 * 30 + 0.5))


@given(st.lists(st.integers(1, 8000), max_size=10))
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
async def test_frames_do_not_depend_on_how_the_sound_was_cut(stub: AuroraAsyncStub, sizes: list[int]) -> None:
    whole = await animate(stub, [start(), *audio(SPEECH), END])
    cuts = np.cumsum(sizes).clip(max=len(SPEECH)).tolist()
    pieces = [SPEECH[a:b] for a, b in zip([0, *cuts], [*cuts, len(SPEECH)], strict=True)]
    shown = await animate(stub, [start(), *[Request(audio=piece) for piece in pieces], END])
    assert shown.times_ms == whole.times_ms
    # The last frames are eased from wherever the turn stood when its end became known.
    assert np.allclose(shown.weights[:-5], whole.weights[:-5], atol=1e-3)


async def test_the_mouth_opens_with_the_voice_and_is_closed_at_the_end(stub: AuroraAsyncStub) -> None:
    shown = await animate(stub, [start(), *audio(SPEECH, 1280), END])
    assert max(shown.mouth(frame) for frame in range(4)) < 0.01
    assert shown.shape("JawOpen")[15] > 0.3
    assert shown.shape("JawOpen")[-6] > 0.3
    ending = [shown.mouth(frame) for frame in range(-4, 0)]  # it eases over 100 ms, three frames
    assert ending[-1] == 0
    assert ending == sorted(ending, reverse=True)


async def test_frames_come_while_the_sound_still_does(stub: AuroraAsyncStub) -> None:
    call = stub.Animate(timeout=30)
    await call.write(start())
    shown = Shown()
    for number, piece in enumerate(audio(face.vowel(1), 1280), 1):
        await call.write(piece)
        while len(shown.times_ms) < math.floor((number * 0.04 - 0.13) * 30) + 1:
            message = await call.read()
            assert isinstance(message, aurora_pb2.AnimateResponse)
            shown.take(message)
    call.cancel()
    assert len(shown.times_ms) == 27


async def test_turns_at_once_do_not_mix(stub: AuroraAsyncStub) -> None:
    speaking, silent = await asyncio.gather(
        animate(stub, [start(session="a"), *audio(face.vowel(2), 1280), END], 0.001),
        animate(stub, [start(session="b"), *audio(face.silence(2), 1280), END], 0.001),
    )
    assert max(speaking.shape("JawOpen")) > 0.3
    assert max(silent.mouth(frame) for frame in range(60)) == 0


async def test_an_emotion_shows_from_the_beginning_or_from_where_it_comes(stub: AuroraAsyncStub) -> None:
    later = Request(emotions=aurora_pb2.Emotions(values={"sadness": 1.0}))
    shown = await animate(
        stub, [start(joy=1.0), *audio(face.silence(1)), later, *audio(face.silence(1)), END]
    )
    assert shown.shape("MouthSmileLeft")[25] > 0.2 > shown.shape("MouthSmileLeft")[50]
    assert shown.shape("BrowInnerUp")[25] == 0
    assert shown.shape("BrowInnerUp")[-1] > 0.2


async def test_an_emotion_is_not_lost_before_sound_too_short_to_resample(stub: AuroraAsyncStub) -> None:
    joyful = Request(emotions=aurora_pb2.Emotions(values={"joy": 1.0}))
    crumbs = audio(face.silence(1, 44100), 20)
    shown = await animate(stub, [start(44100), joyful, *crumbs, END])
    assert shown.shape("MouthSmileLeft")[20] > 0.2


async def test_times_of_words_are_taken_and_change_nothing_yet(stub: AuroraAsyncStub) -> None:
    words = aurora_pb2.Timing(words=[aurora_pb2.Mark(label="a", start_ms=0, end_ms=300)])
    shown = await animate(stub, [start(), Request(timing=words), *audio(face.vowel(1)), END])
    assert shown.done == 30


async def test_an_odd_byte_waits_for_its_other_half(stub: AuroraAsyncStub) -> None:
    shown = await animate(stub, [start(), *audio(SPEECH, 1001), END])
    whole = await animate(stub, [start(), *audio(SPEECH), END])
    assert np.allclose(shown.weights[:-5], whole.weights[:-5], atol=1e-3)


async def test_phones_that_are_told_before_their_sound_are_shown(stub: AuroraAsyncStub) -> None:
    await animate(
        stub, [start(), *audio(face.silence(0.1)), END]
    )  # now aurora knows that its face takes them
    told = phones(("ɑ", 300, 450), ("m", 450, 550), ("ɑ", 550, 700))
    shown = await animate(stub, [start(44100), told, *audio(face.vowel(1, 44100), 8820), END])
    assert shown.shape("MouthPressLeft")[15] > 0.4
    assert max(shown.shape("MouthPressLeft")[:12]) < 0.1


@pytest.mark.parametrize(
    "mark",
    [
        ("m", math.nan, 100),
        ("m", -100, 100),
        ("m", 500, 400),
        ("m", 0, math.inf),
        ("no such phone, and far too long a name", 100, 200),
        ("?", 100, 200),
        ("m", 1e12, 2e12),
    ],
)
async def test_phones_that_make_no_sense_change_nothing(
    stub: AuroraAsyncStub, mark: tuple[str, float, float]
) -> None:
    plain = await animate(stub, [start(), *audio(SPEECH), END])
    shown = await animate(stub, [start(), phones(mark), *audio(SPEECH, 6400), phones(mark, mark), END])
    assert shown.done == plain.done
    # All but the last frames, which are eased from wherever the turn stood when its end became known.
    np.testing.assert_allclose(shown.weights[:-5], plain.weights[:-5], atol=1e-3)


async def test_a_hundred_thousand_phones_are_borne(stub: AuroraAsyncStub) -> None:
    flood = phones(*(("m", at, at + 1) for at in range(100_000)))
    shown = await animate(stub, [start(), flood, *audio(SPEECH, 6400), flood, END])
    assert shown.done == 45


async def test_an_odd_byte_at_the_end_is_no_sound(stub: AuroraAsyncStub) -> None:
    assert (await animate(stub, [start(), *audio(SPEECH), Request(audio=b"\1"), END])).done == 45
    assert (await animate(stub, [start(), Request(audio=b"\1"), END])).done == 0


async def test_a_turn_without_sound_is_done_at_once(stub: AuroraAsyncStub) -> None:
    shown = await animate(stub, [start(), END])
    assert (shown.times_ms, shown.done) == ([], 0)


async def test_a_long_reply_in_one_piece_is_animated_whole(stub: AuroraAsyncStub) -> None:
    shown = await animate(stub, [start(), *audio(face.silence(60)), END])
    assert shown.done == 1800


async def refused(stub: AuroraAsyncStub, *requests: Request) -> tuple[grpc.StatusCode, str, str, str]:
    """Status, details, and what the metadata says of the error."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await animate(stub, requests)
    error = caught.value
    metadata = dict(error.trailing_metadata())
    return (
        error.code(),
        error.details() or "",
        str(metadata.get("voxloop-code")),
        str(metadata.get("voxloop-retryable")),
    )


@pytest.mark.parametrize(
    ("requests", "named", "code"),
    [
        ([*audio(b"\0\0")], "the first message must be Start", "bad_request"),
        ([Request()], "the first message must be Start", "bad_request"),
        ([start(0)], "sample rate 0 Hz is outside", "bad_audio"),
        ([start(192_000)], "sample rate 192000 Hz is outside", "bad_audio"),
        ([start(), start()], "not start", "bad_request"),
        ([start(), Request()], "not nothing", "bad_request"),
    ],
)
async def test_a_caller_that_breaks_the_protocol_is_told_how(
    stub: AuroraAsyncStub, requests: list[Request], named: str, code: str
) -> None:
    status, details, its_code, retryable = await refused(stub, *requests)
    assert status is grpc.StatusCode.INVALID_ARGUMENT
    assert named in details
    assert (its_code, retryable) == (code, "0")


async def read_all(call: grpc.aio.StreamStreamCall[Request, aurora_pb2.AnimateResponse]) -> None:
    while await call.read() != grpc.aio.EOF:
        pass


async def idle(metrics: Metrics) -> None:
    await metrics.becomes(lambda m: m.value("voxloop_face_active_streams") == 0)


async def test_cancelling_a_turn_cancels_it_in_audio2face(
    stub: AuroraAsyncStub, audio2face: Audio2FaceServer, aurora: AuroraServer
) -> None:
    await idle(audio2face.metrics)
    stopped = audio2face.metrics.value("voxloop_face_streams_total", outcome="cancelled")
    turns = aurora.metrics.value("voxloop_aurora_turns_total", outcome="cancelled")
    call = stub.Animate(timeout=30)
    await call.write(start())
    await call.write(Request(audio=face.vowel(2)))
    await call.read()
    assert audio2face.metrics.value("voxloop_face_active_streams") == 1
    call.cancel()
    await idle(audio2face.metrics)
    assert audio2face.metrics.value("voxloop_face_streams_total", outcome="cancelled") == stopped + 1
    await aurora.metrics.becomes(
        lambda m: m.value("voxloop_aurora_turns_total", outcome="cancelled") == turns + 1
    )


async def test_fifty_interruptions_leave_a_face_that_still_moves(
    stub: AuroraAsyncStub, audio2face: Audio2FaceServer
) -> None:
    for turn in range(50):
        call = stub.Animate(timeout=30)
        await call.write(start(turn=turn))
        await call.write(Request(audio=face.vowel(0.5)))
        await call.read()
        call.cancel()
    await idle(audio2face.metrics)
    shown = await animate(stub, [start(turn=50), *audio(SPEECH), END])
    assert max(shown.shape("JawOpen")) > 0.3


async def test_a_caller_that_leaves_without_end_stops_the_work(
    stub: AuroraAsyncStub, audio2face: Audio2FaceServer
) -> None:
    status, *_ = await refused(stub, start(), *audio(face.vowel(1)))
    assert status is grpc.StatusCode.CANCELLED
    await idle(audio2face.metrics)


async def test_a_dead_audio2face_fails_the_turn_and_serves_the_next_when_it_is_back(tmp_path: Path) -> None:
    port = str(free_port())
    with aurora_server(tmp_path, f"127.0.0.1:{port}") as aurora:
        async with grpc.aio.insecure_channel(aurora.target) as channel:
            stub: AuroraAsyncStub = AuroraStub(channel)
            for _ in range(2):
                status, details, code, retryable = await refused(stub, start(), *audio(SPEECH), END)
                assert (status, code, retryable) == (
                    grpc.StatusCode.UNAVAILABLE,
                    "peer_unavailable",
                    "1",
                )
                assert "audio2face" in details
            assert aurora.metrics.value("voxloop_aurora_peer_errors_total", code="peer_unavailable") == 2
            with face_server(tmp_path, port=port):
                await aurora.metrics.becomes(lambda _: face.answers(f"{aurora.http}/readyz"))
                assert (await animate(stub, [start(), *audio(SPEECH), END])).done == 45


async def test_an_audio2face_that_dies_in_the_middle_fails_this_turn_only(tmp_path: Path) -> None:
    port = str(free_port())
    with face_server(tmp_path, port=port) as doomed, aurora_server(tmp_path, doomed.target) as aurora:
        async with grpc.aio.insecure_channel(aurora.target) as channel:
            stub: AuroraAsyncStub = AuroraStub(channel)
            call = stub.Animate(timeout=30)
            await call.write(start())
            await call.write(Request(audio=SPEECH))
            await call.read()
            doomed.process.kill()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await read_all(call)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            end(doomed.process)
            with face_server(tmp_path, port=port):
                await aurora.metrics.becomes(lambda _: face.answers(f"{aurora.http}/readyz"))
                assert (await animate(stub, [start(), *audio(SPEECH), END])).done == 45


async def test_an_audio2face_that_hangs_is_a_timeout(tmp_path: Path) -> None:
    with (
        face_server(tmp_path) as server,
        aurora_server(tmp_path, server.target, frame_timeout_s="2", write_timeout_s="2") as aurora,
    ):
        async with grpc.aio.insecure_channel(aurora.target) as channel:
            stub: AuroraAsyncStub = AuroraStub(channel)
            await animate(stub, [start(), *audio(SPEECH), END])
            server.process.send_signal(signal.SIGSTOP)
            try:
                status, _, code, retryable = await refused(stub, start(), *audio(SPEECH), END)
            finally:
                server.process.send_signal(signal.SIGCONT)
            assert (status, code, retryable) == (
                grpc.StatusCode.DEADLINE_EXCEEDED,
                "peer_timeout",
                "1",
            )


async def test_a_face_that_gives_too_few_frames_is_a_fault(tmp_path: Path) -> None:
    lazy = face_says(header_of("JawOpen"), SUCCESS)
    async with scripted_face(lazy) as target:
        with aurora_server(tmp_path, target) as aurora:
            async with grpc.aio.insecure_channel(aurora.target) as channel:
                status, details, code, _ = await refused(
                    AuroraStub(channel), start(), *audio(face.silence(1)), END
                )
    assert (status, code) == (grpc.StatusCode.FAILED_PRECONDITION, "peer_protocol")
    assert "30 frames too few" in details


async def test_a_caller_that_says_nothing_is_let_go(tmp_path: Path, audio2face: Audio2FaceServer) -> None:
    with aurora_server(tmp_path, audio2face.target, caller_timeout_s="0.2") as aurora:
        async with grpc.aio.insecure_channel(aurora.target) as channel:
            call = AuroraStub(channel).Animate(timeout=30)
            await call.write(start())
            with pytest.raises(grpc.aio.AioRpcError, match="sent nothing for"):
                await read_all(call)


async def test_a_caller_that_takes_no_frames_is_let_go_and_not_blamed_on_audio2face(
    tmp_path: Path, audio2face: Audio2FaceServer
) -> None:
    with aurora_server(tmp_path, audio2face.target, caller_timeout_s="0.3", ahead_s="2") as aurora:
        small = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16384)]
        async with grpc.aio.insecure_channel(aurora.target, options=small) as channel:
            call = AuroraStub(channel).Animate(timeout=30)
            await call.write(start())
            await call.write(Request(audio=face.silence(20)))
            await aurora.metrics.becomes(
                lambda m: m.value("voxloop_aurora_turns_total", outcome="failed") == 1
            )
            assert aurora.metrics.value("voxloop_aurora_peer_errors_total") == 0
    await idle(audio2face.metrics)
