"""Our Audio2Face-3D held against NVIDIA's own stubs: nvidia-ace 1.0.0 and nvidia-audio2face-3d 1.3.0, in an
environment of their own, for they want another grpcio."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest

from shared.wire.audio2face import (
    animation_pb2,
    audio_pb2,
    controller_pb2,
    export_config_pb2,
    messages_pb2,
    status_pb2,
)
from tests.embedded.face.wire_descriptors import wire
from tests.fixtures import face
from tests.fixtures.face import Audio2FaceServer
from tests.fixtures.launch import ROOT

PYTHON = ROOT / ".venv-wire" / "bin" / "python"
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="needs .venv-wire: run `make setup-wire`")

OURS = (audio_pb2, status_pb2, animation_pb2, messages_pb2, controller_pb2, export_config_pb2)


def told(script: str, *arguments: str, pcm: bytes = b"") -> Any:
    """What a script beside this file prints with NVIDIA's packages."""
    command = [PYTHON, Path(__file__).with_name(script), *arguments]
    result = subprocess.run(command, input=pcm, capture_output=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr.decode()
    return json.loads(result.stdout)


def test_every_message_enum_and_call_is_declared_as_nvidias() -> None:
    theirs = told("wire_descriptors.py", "nvidia_ace", "nvidia_audio2face_3d")
    ours = wire(module.DESCRIPTOR for module in OURS)
    assert sorted(ours) == sorted(theirs)
    for name, part in ours.items():
        assert part == theirs[name], name


def test_nvidias_own_client_gets_frames_and_success(audio2face: Audio2FaceServer) -> None:
    heard = told("nvidia_client.py", audio2face.target, pcm=face.vowel(2))
    assert heard["grpcio"] != grpc.__version__
    assert heard["kinds"] == ["animation_data_stream_header", "animation_data", "event", "status"]
    assert heard["status"]["code"] == status_pb2.Status.SUCCESS
    assert heard["times"] == pytest.approx([number / 30 for number in range(60)])
    shape = dict(zip(heard["names"], zip(*heard["weights"], strict=True), strict=True))
    assert len(shape) == 52
    assert max(shape["JawOpen"]) > 0.3
    assert shape["MouthSmileLeft"][30] > 0.2
    assert set(shape["CheekPuff"]) == {0.5}
