"""The process: health, readiness by a real probe, metrics, documentation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.aurora.app import SERVICE
from shared.process import free_port
from tests.fixtures import face
from tests.fixtures.face import Audio2FaceServer, AuroraServer, aurora_server
from tests.services.aurora.conftest import END, animate, audio, start

if TYPE_CHECKING:  # the stubs know the kind for asyncio, the module does not
    from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraAsyncStub


def test_readiness_is_a_stream_through_audio2face(aurora: AuroraServer, audio2face: Audio2FaceServer) -> None:
    done = audio2face.metrics.value("voxloop_face_streams_total", outcome="done")
    answer = httpx.get(f"{aurora.http}/readyz")
    assert answer.status_code == 200
    assert answer.json()["dependencies"]["audio2face"]["ok"]
    assert audio2face.metrics.value("voxloop_face_streams_total", outcome="done") == done + 1


def test_without_audio2face_it_lives_and_is_not_ready(tmp_path: Path) -> None:
    with aurora_server(tmp_path, f"127.0.0.1:{free_port()}") as lonely:
        assert httpx.get(f"{lonely.http}/healthz").status_code == 200
        answer = httpx.get(f"{lonely.http}/readyz")
    assert answer.status_code == 503
    assert answer.json()["dependencies"]["audio2face"]["code"] == "peer_unavailable"


def test_why_audio2face_refuses_is_named(tmp_path: Path) -> None:
    with (
        face.face_server(tmp_path, max_clip_s="0.01") as strict,
        aurora_server(tmp_path, strict.target) as aurora,
    ):
        probe = httpx.get(f"{aurora.http}/readyz").json()["dependencies"]["audio2face"]
    assert probe["code"] == "peer_refused", probe
    assert "longer than" in probe["error"]


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_standard_grpc_health_says_serving(aurora: AuroraServer, service: str) -> None:
    async with grpc.aio.insecure_channel(aurora.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_turn_is_measured(aurora: AuroraServer, stub: AuroraAsyncStub) -> None:
    names = (
        "voxloop_aurora_frames_total",
        "voxloop_aurora_frame_lateness_seconds_count",
        "voxloop_aurora_first_frame_seconds_count",
    )
    before = [aurora.metrics.value(name) for name in names]
    done = aurora.metrics.value("voxloop_aurora_turns_total", outcome="done")
    await animate(stub, [start(), *audio(face.vowel(1)), END])
    assert [aurora.metrics.value(name) for name in names] == [before[0] + 30, before[1] + 30, before[2] + 1]
    await aurora.metrics.becomes(lambda m: m.value("voxloop_aurora_turns_total", outcome="done") == done + 1)
    assert aurora.metrics.value("voxloop_aurora_active_turns") == 0


def test_the_documentation_is_served(aurora: AuroraServer) -> None:
    assert httpx.get(f"{aurora.http}/docs").status_code == 200
    assert httpx.get(f"{aurora.http}/openapi.json").json()["info"]["title"] == "Voxloop aurora"
