"""What is said in training: sentences of nova-mini's dialogues, and words of a dictionary in any order.

The first are spoken as people speak, the second hold every phone beside every other.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

import pocketsphinx

from training.nova_mini.dialogue import conversation
from training.nova_mini.phrasing import Language
from voxloop.bench.face_accuracy import SENTENCES

DICTIONARY = Path(pocketsphinx.get_model_path()) / "en-us" / "cmudict-en-us.dict"
DIALOGUES = 1500
SHORTEST, LONGEST = 15, 90
"""Characters of a sentence."""
WORDS = (4, 9)
"""Of the dictionary, in one sentence."""
LIPS = "mbp"
LIPS_SHARE = 0.3
"""Of the dictionary's words in a sentence, at least so many with a letter for closed lips: there are few."""

_SENTENCE = re.compile(r"[^.!?\n]+[.!?]")
_SPELLED = re.compile(r"[A-Za-zÄÖÜäöüß ,;'’.!?-]+")


@cache
def sentences(language: Language) -> list[str]:
    """Of dialogues; none with a number or a sign that one voice may read otherwise than another."""
    rng = random.Random(f"face {language}")
    found: dict[str, None] = {}
    for _ in range(DIALOGUES):
        for turn in conversation(rng).turns:
            if turn.language == language:
                found |= dict.fromkeys(map(str.strip, _SENTENCE.findall(turn.answer)))
    return sorted(one for one in found if _is_fit(one))


def _is_fit(sentence: str) -> bool:
    fits = SHORTEST <= len(sentence) <= LONGEST and _SPELLED.fullmatch(sentence)
    return bool(fits) and sentence not in SENTENCES


@cache
def words() -> list[str]:
    spelled = (line.split(maxsplit=1)[0] for line in DICTIONARY.read_text("utf-8").splitlines())
    return sorted({word for word in spelled if re.fullmatch(r"[a-z]{2,12}", word)})


@cache
def _words_of_lips() -> list[str]:
    return [word for word in words() if any(letter in word for letter in LIPS)]


def sentence(rng: random.Random, language: Language) -> str:
    if language == "de" or rng.random() < 0.5:
        return rng.choice(sentences(language))
    chosen = [
        rng.choice(_words_of_lips() if rng.random() < LIPS_SHARE else words())
        for _ in range(rng.randint(*WORDS))
    ]
    if len(chosen) > 5 and rng.random() < 0.4:
        chosen[len(chosen) // 2] += ","
    return " ".join(chosen).capitalize() + "."
