"""The server as a process: how it starts, what it refuses, and that nothing outlives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from riva.client import ASRService, Auth, RecognitionConfig, SpeechSynthesisService
from riva.client.proto import riva_asr_pb2 as pb

from shared.process import free_port
from tests.embedded.speech.conftest import Recogniser, said, sample
from tests.fixtures.launch import ROOT, launched
from tests.fixtures.speech import MODULE, RivaServer, answers, speech_env

DEADLINE_S = 120.0
CONFIG = pb.StreamingRecognizeRequest(
    streaming_config=pb.StreamingRecognitionConfig(
        config=RecognitionConfig(sample_rate_hertz=16000), interim_results=True
    )
)


def start_and_fail(**env: str) -> str:
    """What the server says when it cannot start: one line."""
    ended = subprocess.run(
        [sys.executable, "-m", MODULE],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    return line


@pytest.fixture(name="small")
def small_server(tmp_path: Path) -> Iterator[RivaServer]:
    """A server of our own with one worker and two streams, for what would disturb others."""
    port = free_port()
    uri, ca = f"127.0.0.1:{port}", tmp_path / "tls" / "ca.pem"
    env = speech_env(port, tmp_path / "tls") | {
        "VOXLOOP_SPEECH_WORKERS": "1",
        "VOXLOOP_SPEECH_MAX_STREAMS": "2",
    }
    with launched(MODULE, env, answers(uri, ca), tmp_path / "log") as process:
        yield RivaServer(uri, ca, process.pid)


class Caller:
    """A stream that stays open in the middle of its speech until it is told what to do."""

    def __init__(self, server: RivaServer) -> None:
        self._go_on = Event()
        self.call = ASRService(server.auth()).stub.StreamingRecognize(self._requests())
        next(self.call)  # a partial: a worker is busy with it now

    def _requests(self) -> Iterator[pb.StreamingRecognizeRequest]:
        yield CONFIG
        yield pb.StreamingRecognizeRequest(audio_content=sample("question")[: 2 * 16000 * 3 // 2])
        self._go_on.wait(DEADLINE_S)

    def hang_up(self) -> None:
        self.call.cancel()
        self._go_on.set()


def workers(server: RivaServer) -> list[psutil.Process]:
    return psutil.Process(server.pid).children()


def test_health_is_standard_for_the_server_and_each_service(riva: RivaServer) -> None:
    stub = health_pb2_grpc.HealthStub(riva.auth().channel)
    for service in ("", "nvidia.riva.asr.RivaSpeechRecognition", "nvidia.riva.tts.RivaSpeechSynthesis"):
        reply = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("use_ssl", [False, True])
def test_it_speaks_to_nobody_without_tls_and_its_ca(riva: RivaServer, use_ssl: bool) -> None:
    service = SpeechSynthesisService(Auth(uri=riva.uri, use_ssl=use_ssl))
    with pytest.raises(grpc.RpcError) as refused:
        service.synthesize("Hello")
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_nothing_survives_a_server_that_is_killed(small: RivaServer) -> None:
    caller = Caller(small)  # also a worker at work must notice
    orphans = workers(small)
    assert len(orphans) == 1
    os.kill(small.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(orphans, DEADLINE_S)
    assert not alive
    caller.hang_up()


def test_sigterm_ends_it_in_order(small: RivaServer) -> None:
    caller, children = Caller(small), workers(small)
    server = psutil.Process(small.pid)
    server.terminate()
    assert server.wait(DEADLINE_S) == 0
    assert not any(child.is_running() for child in children)
    caller.hang_up()


def test_a_worker_killed_mid_stream_costs_that_stream_only(small: RivaServer) -> None:
    caller = Caller(small)
    (worker,) = workers(small)
    worker.kill()
    with pytest.raises(grpc.RpcError, match="its process ended") as lost:
        list(caller.call)
    assert lost.value.code() is grpc.StatusCode.UNAVAILABLE
    caller.hang_up()
    recogniser = Recogniser(ASRService(small.auth()))
    assert recogniser.stream_pcm(sample("question")).texts == [said("question")]


def test_a_cancelled_stream_frees_its_worker(small: RivaServer) -> None:
    caller = Caller(small)
    caller.hang_up()
    recogniser = Recogniser(ASRService(small.auth()))
    assert recogniser.stream_pcm(sample("question")).texts == [said("question")]


def test_one_stream_too_many_is_refused_and_those_open_go_on(small: RivaServer) -> None:
    stub = ASRService(small.auth()).stub
    done = Event()
    ended = SimpleQueue[grpc.Call]()

    def idle() -> Iterator[pb.StreamingRecognizeRequest]:
        yield CONFIG
        done.wait(DEADLINE_S)

    caller = Caller(small)  # it has the one worker, and idle streams take none
    idle_calls = [stub.StreamingRecognize(idle()) for _ in range(2)]  # which of them is one too many is open
    for call in idle_calls:
        call.add_callback(partial(ended.put, call))
    refused = ended.get(timeout=DEADLINE_S)
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "2 recognition streams are open" in refused.details()
    assert caller.call.is_active()
    caller.hang_up()
    done.set()
    (accepted,) = (call for call in idle_calls if call is not refused)
    assert list(accepted) == []


def test_a_port_in_use_is_named_with_the_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = start_and_fail(VOXLOOP_SPEECH_PORT=str(port))
    assert f"port {port} for the speech server is in use" in line
    assert "VOXLOOP_SPEECH_PORT" in line


def test_a_bad_setting_is_named() -> None:
    assert "VOXLOOP_SPEECH_WORKERS" in start_and_fail(VOXLOOP_SPEECH_WORKERS="0")


def test_it_does_not_serve_other_machines_by_accident() -> None:
    assert "VOXLOOP_SPEECH_ALLOW_ANONYMOUS" in start_and_fail(VOXLOOP_SPEECH_HOST="0.0.0.0")
