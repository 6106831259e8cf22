from __future__ import annotations

import contextlib
import json
import struct
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT

weights = import_module("models.nova.1.weights")


def entry(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


def gguf(*entries: bytes, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(entries)) + b"".join(entries)


NAME = entry("general.name", 8, struct.pack("<Q", 4) + b"tiny")
WORDS = entry("tokens", 9, struct.pack("<IQ", 8, 2) + 2 * (struct.pack("<Q", 1) + b"a"))
SCORES = entry("scores", 9, struct.pack("<IQ", 6, 3) + bytes(12))
EPSILON = entry("llama.epsilon", 6, bytes(4))
CONTEXT = entry("llama.context_length", 4, struct.pack("<I", 2048))


def test_a_gguf_file_tells_its_context_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(gguf(NAME, WORDS, SCORES, EPSILON, CONTEXT))
    assert weights.context_length(file) == 2048


def test_an_openvino_folder_tells_it_in_config_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 4096}))
    assert weights.context_length(tmp_path) == 4096


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is not a GGUF file"),
        (b"RIFF____WAVE", "is not a GGUF file"),
        (gguf(CONTEXT, version=1), "is GGUF version 1"),
        (gguf(NAME), "does not tell its context length"),
        (gguf(NAME, CONTEXT)[:-20], "is a damaged GGUF file"),
        (gguf(entry("x", 99, b"")), "is a damaged GGUF file"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, content: bytes, complaint: str) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(weights.BadModel, match=f"model.gguf {complaint}"):
        weights.context_length(file)


def test_a_file_that_is_cut_short_is_refused_and_not_made_a_model_of_noise(tmp_path: Path) -> None:
    whole = (ROOT / "models" / "nova" / "1" / "nova-mini.gguf").read_bytes()
    file = tmp_path / "model.gguf"
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(weights.BadModel, match="cut short"):
        weights.context_length(file)
    file.write_bytes(whole)
    assert weights.context_length(file) > 0


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(weights.BadModel, match=r"absent\.gguf does not exist"):
        weights.context_length(tmp_path / "absent.gguf")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(weights.BadModel, match="is not an OpenVINO model"):
        weights.context_length(tmp_path)


@given(content=st.binary(max_size=200), head=st.sampled_from([b"", gguf(), gguf(NAME, CONTEXT)]))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, head: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.gguf"
    file.write_bytes(head[:-4] + content)
    with contextlib.suppress(weights.BadModel):
        assert weights.context_length(file) >= 0
