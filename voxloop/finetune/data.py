"""Conversations to learn from, a JSON object on each line: `{"messages": [{"role": …, "content": …}, …]}`.

A system message may come first; then user and assistant take turns, and the assistant has the last word.
Messages are named by line and never quoted: they may be anybody's conversations.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from shared.errors import InputError

SHOWN = 20
"""Problems that one error names."""


def check(path: Path) -> int:
    """How many conversations there are. Raises InputError that names every bad line, up to SHOWN."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"the data {path} cannot be read ({error.strerror}).") from None
    problems: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if line.strip():
            first = seen.setdefault(hashlib.sha256(line.strip()).hexdigest(), number)
            problem = _problem(line) if first == number else f"the same as line {first}"
            if problem:
                problems.append(f"line {number}: {problem}")
    if problems:
        raise refusal(path, problems)
    if not seen:
        raise InputError(f"the data {path} holds no conversation.")
    return len(seen)


def refusal(path: Path, problems: list[str]) -> InputError:
    more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    listed = "".join(f"\n  {problem}" for problem in problems[:SHOWN])
    return InputError(f"{path} cannot be learnt from:{listed}{more}")


def _problem(line: bytes) -> str:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return "not UTF-8"
    except json.JSONDecodeError as error:
        return f"no JSON ({error.msg}, column {error.colno})"
    except RecursionError:
        return "no JSON (nested too deeply)"
    messages = row.get("messages") if isinstance(row, dict) else None
    if not isinstance(messages, list) or not messages:
        return 'no list "messages"'
    expected = "user"
    for index, message in enumerate(messages, start=1):
        if problem := _message(message, expected, first=index == 1):
            return f"message {index}: {problem}"
        expected = "assistant" if message["role"] == "user" else "user"
    if messages[-1]["role"] != "assistant":
        return "the last message is not the assistant's, so there is nothing to learn"
    return ""


def _message(message: Any, expected: str, *, first: bool) -> str:
    if not isinstance(message, dict) or "role" not in message:
        return 'no "role"'
    role, content = message["role"], message.get("content")
    if role not in ("system", "user", "assistant"):
        return "its role is none of system, user, assistant"
    if role != expected and not (first and role == "system"):
        return f"its role is {role} where {expected} was expected"
    if not isinstance(content, str):
        return 'its "content" is no text'
    if not content.strip():
        return "an empty answer" if role == "assistant" else "its content is empty"
    if any("\ud800" <= character <= "\udfff" for character in content):
        return "half of a surrogate pair, which is no character"
    return ""
