"""Sounds that mean "go on": spoken over a reply they do not interrupt it."""

from __future__ import annotations

import re

_ENGLISH = [
    "mhm",
    "mm",
    "mmm",
    "mm-hmm",
    "mmhmm",
    "hm",
    "hmm",
    "huh",
    "uh",
    "um",
    "uh-huh",
    "uhhuh",
    "ah",
    "aha",
    "oh",
    "ooh",
    "er",
    "erm",
]
_GERMAN = ["mhm", "hm", "hmm", "mmm", "ähm", "äh", "ah", "aha", "oh"]
_WORDS = {"en": frozenset(_ENGLISH), "de": frozenset(_GERMAN)}


def is_backchannel(text: str, language: str) -> bool:
    words = re.findall(r"[\w-]+", text.lower())
    known = _WORDS.get(language.split("-", maxsplit=1)[0].lower(), _WORDS["en"])
    return bool(words) and all(word in known for word in words)
