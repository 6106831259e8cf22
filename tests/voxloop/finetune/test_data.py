"""Conversations: every line that cannot be learnt from is named before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InputError
from tests.fixtures.launch import ROOT
from voxloop.finetune.data import SHOWN, check, refusal

GOOD = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'


def row(*messages: object) -> bytes:
    return json.dumps({"messages": messages}).encode()


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def assistant(content: object) -> dict[str, object]:
    return {"role": "assistant", "content": content}


def test_a_good_file_is_counted(tmp_path: Path) -> None:
    system = {"role": "system", "content": "s"}
    lines = [GOOD, b"", row(system, user("a"), assistant("b"), user("c"), assistant("d"))]
    (tmp_path / "data.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert check(tmp_path / "data.jsonl") == 2


def test_the_example_is_good() -> None:
    assert check(ROOT / "training" / "nemo" / "facts.jsonl") == 4


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"messages": [', "no JSON (Expecting value, column 15)"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", 'no list "messages"'),
        (b'{"messages": []}', 'no list "messages"'),
        (b'{"prompt": "a"}', 'no list "messages"'),
        (row({"content": "a"}), 'message 1: no "role"'),
        (row("a"), 'message 1: no "role"'),
        (row({"role": "tool", "content": "a"}), "message 1: its role is none of"),
        (row(assistant("a")), "message 1: its role is assistant where user was expected"),
        (row(user("a"), user("b")), "message 2: its role is user where assistant was expected"),
        (row(user("a"), {"role": "system", "content": "b"}), "message 2: its role is system"),
        (row(user("a"), assistant("  ")), "message 2: an empty answer"),
        (row(user(""), assistant("b")), "message 1: its content is empty"),
        (row(user(None), assistant("b")), 'message 1: its "content" is no text'),
        (row(user("a\ud800"), assistant("b")), "message 1: half of a surrogate pair"),
        (row(user("a")), "the last message is not the assistant's"),
        (GOOD, "the same as line 1"),
    ],
)
def test_a_bad_line_is_named_and_not_quoted(tmp_path: Path, line: bytes, complaint: str) -> None:
    (tmp_path / "data.jsonl").write_bytes(b"\n".join([GOOD, b"", line]))
    with pytest.raises(InputError) as caught:
        check(tmp_path / "data.jsonl")
    (found,) = caught.value.message.splitlines()[1:]
    assert found.startswith(f"  line 3: {complaint}")


def test_many_bad_lines_are_counted(tmp_path: Path) -> None:
    message = refusal(tmp_path, [f"line {number}: bad" for number in range(SHOWN + 3)]).message
    assert len(message.splitlines()) == SHOWN + 2
    assert message.endswith("and 3 more")


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_conversations(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.jsonl").write_bytes(content)
    with pytest.raises(InputError, match="holds no conversation"):
        check(tmp_path / "data.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        check(tmp_path)


@given(st.lists(st.binary() | st.from_type(dict[str, list[str]]).map(lambda made: json.dumps(made).encode())))
def test_whatever_stands_there_is_counted_or_named(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(InputError):
        check(path)
