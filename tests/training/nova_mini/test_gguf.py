"""The committed GGUF is what the commands make: a small llama with its tokenizer and chat template."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import jinja2
import pytest

from training.nova_mini.chat import SPECIAL, TEMPLATE
from training.nova_mini.dialogue import Dialogue, Turn

GGUF = Path(__file__).parents[3] / "models" / "nova" / "1" / "nova-mini.gguf"
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


def read_value(file: BinaryIO, kind: int) -> Any:
    if kind == STRING:
        return file.read(struct.unpack("<Q", file.read(8))[0]).decode()
    if kind == ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        return [read_value(file, inner) for _ in range(count)]
    form = "<" + NUMBERS[kind]
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    """The keys and values at the head of the file, as GGUF's specification lays them out."""
    with GGUF.open("rb") as file:
        magic, _, _, count = struct.unpack("<4sIQQ", file.read(24))
        assert magic == b"GGUF"
        found = {}
        for _ in range(count):
            key = read_value(file, STRING)
            (kind,) = struct.unpack("<I", file.read(4))
            found[key] = read_value(file, kind)
    return found


def test_it_is_small() -> None:
    assert GGUF.stat().st_size < 10_000_000


def test_it_is_a_llama(metadata: dict[str, Any]) -> None:
    assert metadata["general.architecture"] == "llama"
    assert metadata["general.name"] == "nova-mini"
    assert metadata["llama.vocab_size"] == len(metadata["tokenizer.ggml.tokens"])


def test_a_generation_ends_with_the_end_token(metadata: dict[str, Any]) -> None:
    tokens = metadata["tokenizer.ggml.tokens"]
    assert tuple(tokens[: len(SPECIAL)]) == SPECIAL
    assert tokens[metadata["tokenizer.ggml.eos_token_id"]] == "<|end|>"
    assert metadata["tokenizer.ggml.add_bos_token"] is False


def test_every_digit_is_a_token_of_its_own(metadata: dict[str, Any]) -> None:
    with_digits = [token for token in metadata["tokenizer.ggml.tokens"] if set(token) & set("0123456789")]
    assert sorted(with_digits) == list("0123456789")


def test_its_template_makes_what_it_was_trained_on(metadata: dict[str, Any]) -> None:
    assert metadata["tokenizer.chat_template"] == TEMPLATE
    dialogue = Dialogue("Be brief.", [Turn("", "Hello.", "Hi."), Turn("", "Bye.", "")])
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "Bye."},
    ]
    template = jinja2.Template(metadata["tokenizer.chat_template"])
    assert template.render(messages=messages, add_generation_prompt=True) == dialogue.prompt()
