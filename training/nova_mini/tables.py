"""Reads the tables and phrasings under `text/`.

`[name]` opens a section. A section is read as its lines, as its words, as `key: value` pairs, or as intents:
blocks of lines that mean the same, closed by the answer (`> …`). Lines that begin with # are comments.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "text"


@dataclass(frozen=True)
class Intent:
    phrasings: tuple[str, ...]
    answer: str


@cache
def sections(file: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    lines = found.setdefault("", [])
    for line in map(str.strip, (FOLDER / file).read_text("utf-8").splitlines()):
        if line.startswith("["):
            lines = found[line.strip("[]")] = []
        elif not line.startswith("#"):
            lines.append(line)
    return {name: tuple(lines) for name, lines in found.items()}


@cache
def lines(file: str, section: str = "") -> tuple[str, ...]:
    return tuple(filter(None, sections(file)[section]))


@cache
def words(file: str, section: str) -> tuple[str, ...]:
    return tuple(" ".join(lines(file, section)).split())


@cache
def pairs(file: str, section: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, _, value in (line.partition(":") for line in lines(file, section)):
        if key in found:
            raise ValueError(f"{file}: {key} stands twice in [{section}]")
        found[key] = value.strip()
    return found


@cache
def intents(file: str, section: str = "") -> tuple[Intent, ...]:
    found, phrasings = [], []
    for line in lines(file, section):
        if line.startswith("> "):
            found.append(Intent(tuple(phrasings), line[2:]))
            phrasings = []
        else:
            phrasings.append(line)
    return tuple(found)
