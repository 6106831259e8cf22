"""The process around the service: health, TLS, ports, signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from embedded.face.server import SERVICE
from embedded.face.settings import FaceSettings
from shared import settings
from shared.errors import SettingsError
from shared.tls import CertificateFiles, ensure_certificates
from tests.fixtures.face import Audio2FaceServer, face_server
from tests.fixtures.launch import ROOT


async def status(channel: grpc.aio.Channel, service: str) -> int:
    answer = await health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[no-untyped-call]
        health_pb2.HealthCheckRequest(service=service), timeout=5
    )
    return int(answer.status)


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_standard_health_says_serving(audio2face: Audio2FaceServer, service: str) -> None:
    async with grpc.aio.insecure_channel(audio2face.target) as channel:
        assert await status(channel, service) == health_pb2.HealthCheckResponse.SERVING


def test_the_service_has_nvidias_name() -> None:
    assert SERVICE == "nvidia_ace.services.a2f_controller.v1.A2FControllerService"


def test_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    with face_server(tmp_path) as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(5) == 0


def test_a_port_in_use_is_named_with_its_holder(audio2face: Audio2FaceServer) -> None:
    port = audio2face.target.rpartition(":")[2]
    result = subprocess.run(
        [sys.executable, "-m", "embedded.face"],
        cwd=ROOT, env={"VOXLOOP_FACE_PORT": port}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert f"port {port} for the face server is in use by" in result.stderr
    assert "VOXLOOP_FACE_PORT" in result.stderr


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return ensure_certificates(tmp_path_factory.mktemp("tls"))


async def test_it_serves_tls(tmp_path: Path, certificates: CertificateFiles) -> None:
    with face_server(tmp_path, tls_cert=str(certificates.cert), tls_key=str(certificates.key)) as server:
        trusted = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
        async with grpc.aio.secure_channel(server.target, trusted) as channel:
            assert await status(channel, SERVICE) == health_pb2.HealthCheckResponse.SERVING


async def test_with_a_client_ca_it_serves_only_who_shows_a_certificate(
    tmp_path: Path, certificates: CertificateFiles
) -> None:
    files = {
        "tls_cert": str(certificates.cert),
        "tls_key": str(certificates.key),
        "tls_client_ca": str(certificates.ca),
    }
    with face_server(tmp_path, **files) as server:
        ca = certificates.ca.read_bytes()
        nobody = grpc.ssl_channel_credentials(ca)
        async with grpc.aio.secure_channel(server.target, nobody) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await status(channel, SERVICE)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        known = grpc.ssl_channel_credentials(
            ca, certificates.key.read_bytes(), certificates.cert.read_bytes()
        )
        async with grpc.aio.secure_channel(server.target, known) as channel:
            assert await status(channel, SERVICE) == health_pb2.HealthCheckResponse.SERVING


def test_the_limits_are_audio2faces_own() -> None:
    limits = FaceSettings()
    assert (limits.max_streams, limits.max_buffer_s, limits.max_clip_s) == (10, 10, 300)
    assert (limits.idle_timeout_s, limits.write_timeout_s) == (30, 7)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"HOST": "0.0.0.0"}, "ALLOW_ANONYMOUS=1"),
        ({"TLS_CERT": "server.pem"}, "set together"),
        ({"TLS_CLIENT_CA": "ca.pem"}, "needs VOXLOOP_FACE_TLS_CERT"),
        ({"MAX_STREAMS": "0"}, "VOXLOOP_FACE_MAX_STREAMS"),
    ],
)
def test_bad_settings_are_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"VOXLOOP_FACE_{name}", value)
    with pytest.raises(SettingsError, match=named):
        settings.load(FaceSettings)


def test_a_tls_file_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere.pem")
    with (
        pytest.raises(AssertionError, match=r"nowhere\.pem cannot be read"),
        face_server(tmp_path, tls_cert=missing, tls_key=missing),
    ):
        pass
