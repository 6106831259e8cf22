"""The operator's command: what it prints when things are wrong, in one line each."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fixtures.launch import ROOT
from tests.fixtures.stack import stack_environment

VOXLOOP = str(Path(sys.executable).parent / "voxloop")


def voxloop(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VOXLOOP, *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "300", **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def held_port() -> Iterator[int]:
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


@pytest.mark.parametrize("name", ["VOXLOOP_TRITON_GRPC_PORT", "VOXLOOP_SPEECH_PORT", "SOPHIA_HTTP_PORT"])
def test_a_port_in_use_is_named_with_its_holder_before_anything_starts(
    tmp_path: Path, held_port: int, name: str
) -> None:
    result = voxloop("up", env=stack_environment(tmp_path) | {name: str(held_port)})
    assert result.returncode == 1
    assert f"port {held_port}" in result.stderr
    assert "pid" in result.stderr
    assert name in result.stderr
    assert "Traceback" not in result.stderr


def test_a_bad_setting_is_named(tmp_path: Path) -> None:
    result = voxloop("up", env=stack_environment(tmp_path) | {"SOPHIA_LEAD_MS": "soon"})
    assert result.returncode == 1
    assert "SOPHIA_LEAD_MS" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_service_never_opens_itself_to_the_network_by_accident(tmp_path: Path) -> None:
    result = voxloop("up", env=stack_environment(tmp_path) | {"NOVA_HOST": "0.0.0.0"})
    assert result.returncode == 1
    assert "NOVA_API_KEYS" in result.stderr


def test_a_recording_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no audio")
    result = voxloop("talk", str(tmp_path / "a.wav"))
    assert result.returncode == 1
    assert "not a readable WAV" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("option", ["--trace", "--reply", "--frames"])
def test_a_file_that_cannot_be_written_is_named_before_the_conversation(tmp_path: Path, option: str) -> None:
    file = tmp_path / "nowhere" / "a"
    outputs = {"--reply": tmp_path / "a.wav", "--frames": tmp_path / "a.jsonl"} | {option: file}
    arguments = [str(part) for pair in outputs.items() for part in pair]
    # Nobody listens at this address: it would be named if it had been tried.
    question = str(ROOT / "samples" / "question.wav")
    result = voxloop("talk", question, "--url", "ws://127.0.0.1:1/", *arguments)
    assert result.returncode == 1
    assert result.stderr.strip() == f"voxloop: {file} cannot be written (No such file or directory)"
    assert list(tmp_path.iterdir()) == []


def test_a_command_loads_what_it_needs_alone() -> None:
    """All of it takes two seconds, also for a word of help."""
    code = "import sys, voxloop.cli; print({'grpc', 'numpy', 'pydantic'} & {*sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout == "set()\n"


def test_words_for_a_trace_need_a_trace() -> None:
    assert voxloop("talk", str(ROOT / "samples" / "question.wav"), "--trace-words").returncode == 2


def test_called_wrongly_it_says_how() -> None:
    assert voxloop("dance").returncode == 2
    assert "up" in voxloop("--help").stdout
