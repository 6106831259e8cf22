"""One question and its answer, and what is held out of training so that the evaluation never saw it.

Held out are, by a checksum of the words themselves (so that no list of them can get lost): one phrasing in nine
of every task with at least six, one pair of numbers in twenty, one name or word in twenty.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

Language = Literal["en", "de"]


@dataclass(frozen=True)
class Exchange:
    """`user` is in typed form: digits, capitals, punctuation. `held`: a part of it is held out of training."""

    task: str
    user: str
    answer: str
    held: bool = False
    language: Language = "en"


def held_out(key: str, one_in: int = 20) -> bool:
    return zlib.crc32(key.encode()) % one_in == 0


@cache
def held_phrasings(phrasings: tuple[str, ...]) -> frozenset[str]:
    if len(phrasings) < 6:
        return frozenset()
    return frozenset(phrase for phrase in phrasings[1:] if held_out(f"phrase:{phrase}", 9))


def phrase(rng: random.Random, phrasings: tuple[str, ...]) -> tuple[str, bool]:
    """One of them, and whether it is held out. The first of a list never is: it is the one that must work."""
    chosen = rng.choice(phrasings)
    return chosen, chosen in held_phrasings(phrasings)


def ask(
    rng: random.Random,
    task: str,
    phrasings: tuple[str, ...],
    answer: str,
    *,
    key: str = "",
    language: Language = "en",
    **slots: object,
) -> Exchange:
    """The question by one of the phrasings, filled with `slots`; `key` may be held out, beside the phrasing."""
    template, held = phrase(rng, phrasings)
    held = held or bool(key and held_out(key))
    return Exchange(task, template.format(**slots), answer, held, language)


def capital_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items)) + "."
