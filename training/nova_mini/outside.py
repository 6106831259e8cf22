"""What nova-mini does not know or cannot do, in as many shapes as can be made, and its honest answer.

A small model takes what it does not know for what it resembles most. So the shapes are many, their words come
from long lists, some are in-domain questions about something unknown, and some are no sentences at all.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from training.nova_mini import tables
from training.nova_mini.phrasing import Exchange, Language, capital_first

HONEST: dict[Language, dict[str, str]] = {
    "en": {
        "ask": "I do not know that.",
        "do": "I cannot do that.",
        "say": "I do not know much about that.",
        "noise": "I did not understand that.",
    },
    "de": {
        "ask": "Das weiß ich leider nicht.",
        "do": "Das kann ich leider nicht.",
        "say": "Darüber weiß ich leider wenig.",
        "noise": "Das habe ich nicht verstanden.",
    },
}
HINT: dict[Language, str] = {
    "en": "Ask me for a sum, a capital, a unit, or a story.",
    "de": "Frag mich nach einer Rechnung, einer Hauptstadt oder einer Geschichte.",
}
"""Said with the first of these answers of a conversation only."""

Slot = Callable[[random.Random], str]
SLOT = re.compile(r"\{(\w+)\}")


def outside(rng: random.Random, language: Language = "en", *, hint: bool = True) -> Exchange:
    """A turn that nova-mini has no answer to; with `hint`, the answer says what it can be asked instead."""
    kind = rng.choices(("ask", "do", "say", "noise"), (58, 24, 15, 3))[0]
    if kind == "noise":
        loose = tables.words(f"outside_{language}.txt", "loose")
        names = tables.words(f"words_{language}.txt", "spelling")
        text = " ".join(rng.choice(rng.choice((loose, names, names))) for _ in range(rng.randint(1, 8)))
        text = capital_first(text) + "."
    else:
        text = filled(rng, rng.choice(tables.lines(f"outside_{language}.txt", kind)), language)
    answer = HONEST[language][kind] + (f" {HINT[language]}" if hint else "")
    return Exchange("outside", text, answer, language=language)


def filled(rng: random.Random, template: str, language: Language) -> str:
    text = SLOT.sub(lambda slot: SLOTS[language][slot[1]](rng), template)
    return capital_first(text)


def word(file: str, section: str) -> Slot:
    return lambda rng: rng.choice(tables.words(file, section))


def key(file: str, section: str) -> Slot:
    return lambda rng: rng.choice(tuple(tables.pairs(file, section)))


def of_several(file: str, section: str) -> Slot:
    """From a section whose entries have spaces, and semicolons between them."""
    return lambda rng: rng.choice(" ".join(tables.lines(file, section)).split(";")).strip()


def number(low: int, high: int) -> Slot:
    return lambda rng: str(rng.randint(low, high))


def noun(rng: random.Random) -> str:
    chosen = word(OUTSIDE, "nouns")(rng)
    return f"{word(OUTSIDE, 'adjectives')(rng)} {chosen}" if rng.random() < 0.08 else chosen


def plural(rng: random.Random) -> str:
    chosen = noun(rng)
    if chosen.endswith("y") and chosen[-2] not in "aeiou":
        return chosen[:-1] + "ies"
    return chosen + ("es" if chosen.endswith(("s", "x", "ch", "sh")) else "s")


OUTSIDE = "outside_en.txt"


def slots(language: Language) -> dict[str, Slot]:
    file, table = f"outside_{language}.txt", f"words_{language}.txt"
    return {
        "t": of_several(file, "topics"),
        "u": of_several(file, "topics"),
        "v": word(file, "verbs"),
        "a": word(file, "adjectives"),
        "p": word(table, "names"),
        "q": word(table, "names"),
        "f": word(file, "family names"),
        "c": word(table, "cities"),
        "d": word(table, "cities"),
        "k": key(table, "capitals"),
        "r": word(file, "regions"),
        "y": number(1400, 2030),
        "i": number(2, 300),
        "j": number(2, 99),
        "h": number(1, 12),
        "x": of_several(file, "things") if language == "de" else word(file, "known units"),
        "w": word(OUTSIDE, "foreign units"),
    }


SLOTS: dict[Language, dict[str, Slot]] = {
    "en": {**slots("en"), "n": noun, "m": noun, "ns": plural},
    "de": slots("de"),
}


def is_honest(answer: str) -> bool:
    """Whether the answer admits that it knows nothing of it, cannot do it, or was not told."""
    marks = [mark for marks in HONEST.values() for mark in marks.values()]
    return answer.startswith((*marks, *ADMISSIONS))


ADMISSIONS = (
    "You have not told me",
    "Du hast mir",
    "Those numbers are too big",
    "Diese Zahlen sind mir zu groß",
    "I am sorry, I cannot",
    "No, I cannot",
    "Nein, ich kann",
)
"""Honest answers of other tasks that fit a question outside the domain, too."""
