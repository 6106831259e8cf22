"""A service as a process: how it starts, how it refuses to, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from shared.app import GRACE_S, MAX_WS_MESSAGE, grpc_server
from shared.audio import RATE
from shared.errors import StartupError
from shared.process import free_port
from tests.shared.served import Settings
from voxloop.supervisor import GRACE_S as GRACE_OF_THE_SUPERVISOR_S

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE_S = 60.0


@dataclass
class Service:
    process: subprocess.Popen[str]
    lines: list[str]

    def until(self, pattern: str) -> re.Match[str]:
        """The next line of its output that matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"it ended without {pattern!r}:\n" + "\n".join(self.lines))

    def end(self) -> int:
        """Its exit status; reads what it still says."""
        rest, _ = self.process.communicate(timeout=DEADLINE_S)
        self.lines += rest.splitlines()
        return self.process.returncode


@contextmanager
def service(environment: Mapping[str, object] | None = None) -> Iterator[Service]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.shared.service"],
        cwd=ROOT,
        env={
            **os.environ,
            **{f"MINIATURE_{name}": str(value) for name, value in (environment or {}).items()},
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield Service(process, [])
        finally:
            process.kill()


@contextmanager
def running(environment: Mapping[str, object] | None = None) -> Iterator[tuple[Service, str, str]]:
    """A service that serves, its base URL and its gRPC address."""
    with service(environment) as started:
        grpc_port = started.until(r"gRPC on (\d+)")[1]
        url = started.until(r"Uvicorn running on (\S+)")[1]
        yield started, url, f"{url.removeprefix('http://').rpartition(':')[0]}:{grpc_port}"


def refused(**environment: object) -> str:
    """The one line that a service which cannot start says."""
    with service(environment) as started:
        assert started.end() == 1
    said = [line for line in started.lines if not line.endswith(": cleaned up")]
    assert len(said) == 1, "\n".join(said)
    assert said[0].startswith("miniature: ")
    return said[0]


# Starting


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_service_serves_http_and_grpc_on_one_address(host: str) -> None:
    with running({"HOST": host}) as (_, url, target):
        assert httpx.get(f"{url}/healthz", trust_env=False).json() == {"status": "alive"}
        assert (
            httpx.get(f"{url}/openapi.json", trust_env=False).json()["info"]["title"] == "Voxloop miniature"
        )
        with grpc.insecure_channel(target) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[no-untyped-call]
                health_pb2.HealthCheckRequest(), timeout=DEADLINE_S
            )
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_websocket_message_may_hold_half_a_minute_of_speech_and_no_more() -> None:
    with running() as (_, url, _), connect(f"{url.replace('http', 'ws')}/count", proxy=None) as socket:
        socket.send(bytes(30 * 2 * RATE))
        assert socket.recv() == str(30 * 2 * RATE)
        with suppress(ConnectionClosedError):  # the server may be the faster
            socket.send(bytes(MAX_WS_MESSAGE + 1))
        with pytest.raises(ConnectionClosedError) as caught:
            socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


# Refusing to start


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("HTTP_PORT", "eighty", "MINIATURE_HTTP_PORT: Input should be a valid integer"),
        ("GRPC_PORT", "70000", "MINIATURE_GRPC_PORT: Input should be less than or equal to 65535"),
        ("LOG_LEVEL", "loud", "MINIATURE_LOG_LEVEL: must be debug, info, warning, error or critical"),
        ("API_KEYS", "schlüssel", "MINIATURE_API_KEYS: a key holds printable ASCII"),
        ("ALLOW_ANONYMOUS", "perhaps", "MINIATURE_ALLOW_ANONYMOUS: Input should be a valid boolean"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_the_variable(variable: str, value: str, told: str) -> None:
    assert told in refused(**{variable: value})


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_address_that_others_reach_needs_keys(host: str) -> None:
    told = refused(HOST=host)
    assert f"host {host} is reachable from other machines but MINIATURE_API_KEYS is empty" in told
    assert "MINIATURE_ALLOW_ANONYMOUS=1" in told


@pytest.mark.parametrize("which", ["HTTP_PORT", "GRPC_PORT"])
def test_a_port_in_use_is_one_line_that_names_its_holder_and_its_variable(which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        told = refused(**{which: port})
    assert f"port {port} for " in told
    assert f"(pid {os.getpid()})" in told
    assert told.endswith(f"set MINIATURE_{which} to another port.")


def test_an_address_of_another_machine_is_one_line() -> None:
    told = refused(HOST="203.0.113.9", HTTP_PORT=free_port(), API_KEYS="key")
    assert "miniature cannot listen on 203.0.113.9" in told


def test_what_the_lifespan_lacks_is_one_line() -> None:
    assert refused(MISSING="the model") == "miniature: the model is missing. Fetch it."


# Ending


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0_after_the_cleaning_up(number: signal.Signals) -> None:
    with running() as (started, _, _):
        started.process.send_signal(number)
        assert started.end() == 0
    assert started.lines[-1].endswith(": cleaned up")
    assert not [line for line in started.lines if "Traceback" in line]


def test_requests_that_never_end_do_not_hold_it_up_past_the_supervisors_patience() -> None:
    """It kills what is not gone 6 s after SIGTERM: the grace over HTTP and then that over gRPC are less."""
    assert 2 * GRACE_S < GRACE_OF_THE_SUPERVISOR_S
    with running() as (started, url, target), grpc.insecure_channel(target) as channel:
        hanging = channel.unary_unary("/test.Test/Wait").future(b"")
        started.until("gRPC waits")

        def wait() -> None:
            with suppress(httpx.HTTPError):
                httpx.get(f"{url}/wait", timeout=DEADLINE_S, trust_env=False)

        waiting = threading.Thread(target=wait)
        waiting.start()
        started.until("HTTP waits")
        started.process.terminate()
        assert started.end() == 0
        waiting.join()
        assert hanging.exception(timeout=DEADLINE_S) is not None
    assert started.lines[-1].endswith(": cleaned up")


def test_a_second_signal_while_it_ends_does_not_cut_the_cleaning_up() -> None:
    with running() as (started, _, target), grpc.insecure_channel(target) as channel:
        hanging = channel.unary_unary("/test.Test/Wait").future(b"")
        started.until("gRPC waits")
        started.process.terminate()
        started.until("Finished server process")  # uvicorn is done, and gRPC waits for the call
        started.process.terminate()
        assert started.end() == 0
        hanging.cancel()
    assert started.lines[-1].endswith(": cleaned up")


def test_a_supervised_service_ends_with_its_supervisor() -> None:
    script = (
        "import os, subprocess, sys; os.environ['VOXLOOP_SUPERVISED'] = str(os.getpid()); "
        "subprocess.run([sys.executable, '-m', 'tests.shared.service'], stderr=subprocess.STDOUT)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as supervisor:
        Service(supervisor, []).until("Uvicorn running on")
        supervisor.kill()
        supervisor.communicate(timeout=DEADLINE_S)  # until the last holder of the pipe has ended


# The gRPC server by itself


def nothing(_: grpc.aio.Server) -> None: ...


async def health_of(target: str, name: str) -> int:
    async with grpc.aio.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=DEADLINE_S)
        status: int = answer.status
        return status


async def test_health_is_told_of_the_server_and_of_each_of_its_services() -> None:
    async with grpc_server(Settings(), 0, nothing, ["voxloop.One", "voxloop.Two"]) as port:
        for name in ("", "voxloop.One", "voxloop.Two"):
            assert await health_of(f"127.0.0.1:{port}", name) == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_of(f"127.0.0.1:{port}", "voxloop.Three")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_port_asked_for_is_the_port_got() -> None:
    port = free_port()
    async with grpc_server(Settings(), port, nothing, []) as bound:
        assert bound == port


async def test_two_servers_never_share_a_port() -> None:
    async with AsyncExitStack() as servers:
        port = await servers.enter_async_context(grpc_server(Settings(), 0, nothing, []))
        with pytest.raises(StartupError, match=f"port {port} for gRPC is in use") as caught:
            await servers.enter_async_context(grpc_server(Settings(), port, nothing, []))
    assert "TEST_GRPC_PORT" in caught.value.hint


async def test_a_port_is_free_again_when_its_server_has_ended() -> None:
    async with grpc_server(Settings(), 0, nothing, []) as port:
        pass
    async with grpc_server(Settings(), port, nothing, []) as again:
        assert again == port
