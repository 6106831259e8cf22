"""`python -m embedded.triton`: it becomes tritonserver, or says in one line why not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from shared.process import free_port
from tests.fixtures.launch import ROOT
from tests.fixtures.triton import Triton, answers, triton_server

COMMAND = (sys.executable, "-m", "embedded.triton")


def ports() -> dict[str, str]:
    return {f"VOXLOOP_TRITON_{name}_PORT": str(free_port()) for name in ("HTTP", "GRPC", "METRICS")}


def complaint(env: Mapping[str, str]) -> str:
    """The one line on which it fails."""
    ended = subprocess.run(
        COMMAND,
        cwd=ROOT,
        env={**os.environ, **ports(), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    return line


def test_a_port_in_use_is_named_with_its_holder_and_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        line = complaint({"VOXLOOP_TRITON_METRICS_PORT": str(port)})
    assert f"port {port} for triton's METRICS is in use" in line
    assert f"(pid {os.getpid()})" in line
    assert "set VOXLOOP_TRITON_METRICS_PORT to another port" in line


def test_a_missing_environment_says_how_to_make_it(tmp_path: Path) -> None:
    line = complaint({"VOXLOOP_TRITON_ENV": str(tmp_path / "nowhere")})
    assert f"no Python environment at {tmp_path / 'nowhere'}" in line
    assert "Run `make setup`" in line


def test_a_bad_setting_is_named() -> None:
    assert "VOXLOOP_TRITON_HTTP_PORT" in complaint({"VOXLOOP_TRITON_HTTP_PORT": "many"})


def test_it_is_tritonserver_itself_that_runs(triton: Triton) -> None:
    process = psutil.Process(triton.process.pid)
    assert process.name() == "tritonserver"
    listening = {each.laddr[0] for each in process.net_connections("tcp") if each.status == "LISTEN"}
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_the_end_of_its_parent_ends_it_with_all_that_it_started(tmp_path: Path) -> None:
    """A supervisor that is killed the hard way leaves nothing behind."""
    env = ports()
    with (tmp_path / "log").open("wb") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-c", f"import subprocess; subprocess.Popen({COMMAND!r}).wait()"],
            cwd=ROOT,
            env={**os.environ, **env, "VOXLOOP_SUPERVISED": "1"},
            stderr=log,
            start_new_session=True,
        )
    try:
        while not answers(f"127.0.0.1:{env['VOXLOOP_TRITON_HTTP_PORT']}"):
            assert supervisor.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        family = psutil.Process(supervisor.pid).children(recursive=True)
        assert {process.name() for process in family} >= {"tritonserver", "triton_python_backend_stub"}
    finally:
        supervisor.kill()
        supervisor.wait()
    assert not psutil.wait_procs(family, timeout=20)[1]


def test_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    with triton_server(tmp_path) as server:
        family = server.stubs
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert not psutil.wait_procs(family, timeout=20)[1]
    assert "Traceback" not in server.log.read_text()


def test_a_model_that_does_not_load_is_named_in_the_log(tmp_path: Path) -> None:
    missing = tmp_path / "missing.gguf"
    ended = subprocess.run(
        COMMAND,
        cwd=ROOT,
        env={**os.environ, **ports(), "VOXLOOP_MODEL": str(missing)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert f"the model {missing} does not exist" in ended.stderr
