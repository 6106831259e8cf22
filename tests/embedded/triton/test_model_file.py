from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.triton import model_file
from shared.errors import StartupError


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def entry(key: str, value: str) -> bytes:
    return text(key) + struct.pack("<I", 8) + text(value)


def gguf(*entries: bytes, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(entries)) + b"".join(entries)


LLAMA = entry("general.architecture", "llama")
TEMPLATE = entry("tokenizer.chat_template", "{{ messages }} ü")
WORDS = text("tokens") + struct.pack("<IIQ", 9, 8, 2) + 2 * text("a")
SCORES = text("scores") + struct.pack("<IIQ", 9, 6, 3) + bytes(12)
CONTEXT = text("llama.context_length") + struct.pack("<II", 4, 2048)


def test_a_gguf_file_tells_its_template_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(gguf(LLAMA, CONTEXT, WORDS, SCORES, TEMPLATE))
    assert model_file.read(file) == model_file.ModelFile(file, "gguf", "{{ messages }} ü")


def test_one_without_a_template_is_a_model_too(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(gguf(LLAMA, CONTEXT))
    assert model_file.read(file).chat_template == ""


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is not a GGUF file"),
        (b"RIFF____WAVE", "is not a GGUF file"),
        (b"GGUF\x03", "is a damaged GGUF file"),
        (gguf(LLAMA, version=1), "is GGUF version 1"),
        (gguf(LLAMA, TEMPLATE)[:-4], "is a damaged GGUF file"),
        (gguf(entry("general.architecture", "mamba")), "is of the architecture 'mamba'"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, content: bytes, complaint: str) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(content)
    with pytest.raises(StartupError, match=rf"a\.gguf {complaint}"):
        model_file.read(file)


def test_a_gguf_file_of_another_name_is_refused_as_the_engine_would(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(gguf(LLAMA, TEMPLATE))
    with pytest.raises(StartupError, match=r"must end in \.gguf"):
        model_file.read(file)


def folder_of(path: Path, files: dict[str, str]) -> Path:
    for name in ("openvino_model.xml", "openvino_model.bin", "openvino_tokenizer.xml", "config.json"):
        (path / name).touch()
    for name, content in files.items():
        (path / name).write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config.json": json.dumps({"chat_template": "T"})},
        {"chat_template.jinja": "T", "tokenizer_config.json": json.dumps({"chat_template": "old"})},
        {
            "tokenizer_config.json": json.dumps(
                {
                    "chat_template": [
                        {"name": "tools", "template": "U"},
                        {"name": "default", "template": "T"},
                    ]
                }
            )
        },
    ],
)
def test_an_openvino_folder_tells_it_as_exporters_write_it(tmp_path: Path, files: dict[str, str]) -> None:
    assert model_file.read(folder_of(tmp_path, files)).chat_template == "T"


@pytest.mark.parametrize("files", [{}, {"tokenizer_config.json": "{}"}])
def test_a_folder_without_one_is_a_model_too(tmp_path: Path, files: dict[str, str]) -> None:
    assert model_file.read(folder_of(tmp_path, files)).chat_template == ""


@pytest.mark.parametrize("content", ["{", "[]", '{"chat_template": [1]}', '{"chat_template": [{}]}'])
def test_a_broken_configuration_is_named(tmp_path: Path, content: str) -> None:
    with pytest.raises(StartupError, match=r"chat template of .* cannot be read"):
        model_file.read(folder_of(tmp_path, {"tokenizer_config.json": content}))


@given(content=st.binary(max_size=200), head=st.sampled_from([b"", gguf(), gguf(LLAMA, CONTEXT, TEMPLATE)]))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, head: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.gguf"
    file.write_bytes(head[:-4] + content)
    with contextlib.suppress(StartupError):
        assert model_file.read(file).kind == "gguf"
