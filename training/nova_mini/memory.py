"""What somebody tells of themselves and asks for later: names, ages, favorites, cities, pets."""

from __future__ import annotations

import random
from dataclasses import dataclass

from training.nova_mini import tables
from training.nova_mini.english import one
from training.nova_mini.phrasing import Exchange, Language, ask, capital_first, held_out

ONSETS = "b br ch d dr f fl g gr h j k kl l m n p pr qu r s sh st t th tr v w y z".split(" ")
VOWELS = "a e i o u a e i o ai ee ia io ou".split(" ")
ENDINGS = ("", "", "", "n", "l", "r", "s", "m", "th", "x", "ck", "nd", "rt")
MADE_UP = {"name": 0.6, "city": 0.5, "pet": 0.5, "person": 0.5, "word": 0.5}
"""How often a value is made up, so that remembering is learnt and not a list of names."""
LISTS = {
    "name": "names", "city": "cities", "color": "colors", "food": "foods", "drink": "drinks",
    "animal": "animals", "word": "spelling", "pet": "pet names", "person": "names", "job": "jobs",
    "sport": "sports", "instrument": "instruments", "birthday": "months", "subject": "subjects",
}  # fmt: skip
OPEN = {*MADE_UP, "age", "number"}
"""Topics of which any value may be told; the values of the others are few and all of them trained."""
KINDS = {"pet": "pets", "person": "people"}


@dataclass(frozen=True)
class Memory:
    """What can be told and asked for. `value` is as answers write it; `kind` which pet or person."""

    topic: str
    value: str
    kind: str = ""
    language: Language = "en"

    def __str__(self) -> str:
        return f"{self.topic} {self.kind}".strip()

    def tell(self, rng: random.Random) -> Exchange:
        return self._exchange(rng, "told", "told")

    def recall(self, rng: random.Random) -> Exchange:
        return self._exchange(rng, "asked", "asked")

    def unknown(self, rng: random.Random) -> Exchange:
        return self._exchange(rng, "asked", "unknown")

    def _exchange(self, rng: random.Random, said: str, answered: str) -> Exchange:
        file = f"memory_{self.language}.txt"
        slots = {"value": self.value, "kind": self.kind, "article": one(self.value).split()[0]}
        answer = tables.pairs(file, f"{self.topic} answers")[answered].format(**slots)
        phrasings = tables.lines(file, f"{self.topic} {said}")
        key = "" if answered == "unknown" or self.topic not in OPEN else value_key(self.value)
        task = {"told": "telling", "asked": "recall", "unknown": "unknown"}[answered]
        return ask(rng, task, phrasings, capital_first(answer), key=key, language=self.language, **slots)


def syllables(rng: random.Random) -> str:
    """A made-up name of one to three syllables: "Drina", "Sholeth"."""
    count = rng.choice((1, 2, 2, 2, 3, 3))
    made = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(count)) + rng.choice(ENDINGS)
    return made.capitalize()


def blended(rng: random.Random, language: Language) -> str:
    """Two names, or the beginning of one and the end of another: "Mary Rond", "Margbert"."""
    known = tables.words(f"words_{language}.txt", "names")
    names = [name for name in known if not held_out(value_key(name))]
    if rng.random() < 0.2:
        return f"{rng.choice(names)} {syllables(rng) if rng.random() < 0.5 else rng.choice(names)}"
    first, second = rng.choice(names), rng.choice(names).lower()
    return first[: rng.randint(2, len(first))] + second[rng.randint(0, len(second) - 1) :]


def memory(rng: random.Random, topic: str, language: Language = "en", *, made_up: bool = True) -> Memory:
    value = value_of(rng, topic, language, made_up=made_up)
    kind = rng.choice(tables.words(f"words_{language}.txt", KINDS[topic])) if topic in KINDS else ""
    return Memory(topic, value, kind, language)


def value_of(rng: random.Random, topic: str, language: Language, *, made_up: bool) -> str:
    if topic == "age":
        return str(rng.randint(3, 99))
    if topic == "number":
        return str(rng.randint(0, rng.choice((20, 100, 999))))
    if made_up and rng.random() < MADE_UP.get(topic, 0.0):
        made = syllables(rng) if rng.random() < 0.6 else blended(rng, language)
        return made.lower() if topic == "word" else made
    return rng.choice(tables.words(f"words_{language}.txt", LISTS[topic]))


TOPICS: dict[Language, tuple[str, ...]] = {
    "en": ("name", "name", "name", "city", "age", "number", "pet", "person", *LISTS, "age", "number"),
    "de": ("name", "name", "name", "city", "age", "color", "food", "number", "person"),
}
"""What is told, as often as it stands here."""


def value_key(value: str) -> str:
    return f"value:{value.lower()}"


def is_held(told: Memory) -> bool:
    return told.topic in OPEN and held_out(value_key(told.value))
