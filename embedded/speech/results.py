"""What is asked of a recognition worker, and what it answers. Times count from the utterance's start."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter


@dataclass(frozen=True)
class Options:
    interim: bool = True
    max_alternatives: int = 1


@dataclass(frozen=True)
class Word:
    """`confidence` is the word's posterior probability in the lattice, 0..1."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float


@dataclass(frozen=True)
class Result:
    """`text` is empty where nothing was said. `stability`: the share of words that the last one had too."""

    text: str = ""
    stability: float = 0.0
    confidence: float = 0.0
    words: tuple[Word, ...] = ()
    alternatives: tuple[str, ...] = ()
    """Other readings, best first, without `text` itself."""


OPTIONS: TypeAdapter[Options] = TypeAdapter(Options)
RESULT: TypeAdapter[Result] = TypeAdapter(Result)
