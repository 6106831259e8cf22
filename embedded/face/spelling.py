"""Where in a word the lips close, by how it is spelled: for voices that tell the times of words alone.

A closure is hard to tell from other sounds by ear alone; but a word without m, b and p has none, whatever it
sounds like, and one that has them has them about where the letters stand. That holds for English, German and
most languages in Latin letters; it says nothing of other scripts, numbers and abbreviations.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from shared.phones import Phone, Word

OPEN = "ə"
"""Any phone in which the lips are open."""

_SOUNDS = re.compile(
    r"(?P<silent>(?<=m)b$|(?<=(.))\2)"  # lamb; of letters that are doubled, one
    r"|(?P<faint>(?<=[a-z]{2})e$)"  # Stimme; not in lake
    r"|(?P<closed>(?!ph)[mbp])"
    r"|(?P<vowel>[aeiouy]+)"
    r"|(?P<consonant>ph|th|sh|sch|ch|ck|qu|.)"
)
_LENGTH = {"silent": 0.0, "faint": 0.5, "closed": 1.0, "vowel": 1.4, "consonant": 0.9}
"""Of each, against each other."""


@lru_cache(1024)
def _sounds(word: str) -> tuple[tuple[str, float], ...] | None:
    """Label and share of the word's time, in order; None where the spelling does not tell."""
    plain = "".join(one for one in unicodedata.normalize("NFD", word) if unicodedata.category(one) != "Mn")
    if plain.isupper() and len(plain) > 1:
        return None
    letters = re.sub(r"[^\w]", "", plain.casefold())
    if not letters or not letters.isascii() or not letters.isalpha():
        return None
    kinds = [(match.group(), match.lastgroup or "") for match in _SOUNDS.finditer(letters)]
    whole = sum(_LENGTH[kind] for _, kind in kinds)
    return tuple(
        (text if kind == "closed" else OPEN, _LENGTH[kind] / whole) for text, kind in kinds if _LENGTH[kind]
    )


def spelled(word: Word) -> list[Phone]:
    """Phones that share the word's time; of those that do not close the lips only that is right."""
    phones: list[Phone] = []
    start_s, length_s = word.start_s, word.end_s - word.start_s
    for label, share in _sounds(word.label) or ():
        phones.append(Phone(start_s, start_s + share * length_s, label))
        start_s = phones[-1].end_s
    return phones
