"""One question and its answer, and what is held out of training so that the evaluation never saw it.

Held out are the phrasings marked with ~ in `text/`, paraphrases made of words that the trained ones have;
and, by a checksum of the value itself (no list can get lost), one pair of numbers or one name in twenty.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "de"]
HELD_MARK = "~ "


@dataclass(frozen=True)
class Exchange:
    """`user` is in typed form: digits, capitals, stops. `held`: a part of it is held out of training."""

    task: str
    user: str
    answer: str
    held: bool = False
    language: Language = "en"


def held_out(key: str) -> bool:
    return zlib.crc32(key.encode()) % 20 == 0


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
    """The question by one of the phrasings, filled with `slots`; `key` may be held out, too."""
    template = rng.choice(phrasings)
    held = template.startswith(HELD_MARK) or bool(key and held_out(key))
    return Exchange(task, template.removeprefix(HELD_MARK).format(**slots), answer, held, language)


def capital_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items)) + "."
