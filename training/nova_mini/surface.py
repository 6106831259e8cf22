"""How a user's turn reaches the model: as a recogniser writes it, or as it is typed."""

from __future__ import annotations

import random
import re

from training.nova_mini import numbers
from training.nova_mini.phrasing import Language

CONTRACTIONS = (
    ("What is", "What's"), ("How is", "How's"), ("Who is", "Who's"), ("Where is", "Where's"),
    ("I am", "I'm"), ("do not", "don't"), ("does not", "doesn't"), ("cannot", "can't"), ("It is", "It's"),
    ("That is", "That's"), ("did not", "didn't"), ("is not", "isn't"), ("Let us", "Let's"),
    ("I have", "I've"), ("You are", "You're"),
)  # fmt: skip
AT_START = ("I am", "I have", "It is", "You are", "That is")
"""These contract only where the sentence begins with them: not in "how old did I say I am"."""
OPENERS = {
    "en": (
        "please", "hey nova", "nova", "okay", "so", "well", "now", "and", "um", "uh", "okay nova", "alright",
        "hello", "hi nova", "no", "but",
    ),
    "de": ("bitte", "hey nova", "nova", "okay", "also", "und", "äh", "ähm", "ja", "sag mal", "gut"),
}  # fmt: skip
CLOSERS = {"en": ("please", "nova", "now", "then", "please nova"), "de": ("bitte", "nova", "jetzt", "denn")}
HOMOPHONES = {
    "two": "to", "four": "for", "eight": "ate", "one": "won", "to": "two", "for": "four", "what's": "what is",
    "i'm": "i am", "capital": "capitol", "is": "it's", "the": "a", "a": "the", "plus": "plus a",
    "how": "how a", "son": "sun",
}  # fmt: skip
"""What a recogniser takes for what sounds alike, in sentences that still say what was meant."""
SIGNS = (
    (" plus ", " + "),
    (" minus ", " - "),
    (" times ", " * "),
    (" mal ", " * "),
    (" divided by ", " / "),
    (" geteilt durch ", " / "),
)
"""How operators are typed now and then."""


def spoken(text: str, language: Language = "en") -> str:
    """As a recogniser writes it: "What is 17 + 25?" → "what is seventeen plus twenty five"."""
    word = numbers.english if language == "en" else numbers.german
    text = text.replace("Audio2Face", "audio to face")
    text = re.sub(r"\d+", lambda digits: f" {word(int(digits[0]))} ", text.replace("+", " plus "))
    text = re.sub(r"[^\w' ]", " ", text.lower().replace("’", "'"))
    return " ".join(text.split())


def contracted(rng: random.Random, text: str) -> str:
    for long, short in CONTRACTIONS:
        if rng.random() < 0.35 and (text.startswith(long) or (long in text and long not in AT_START)):
            text = text.replace(long, short, 1)
    return text


def addressed(rng: random.Random, text: str, language: Language, chance: float) -> str:
    """With a filler word, a "please" or the assistant's name around it."""
    if rng.random() < chance:
        opener = rng.choice(OPENERS[language])
        proper = text.split(maxsplit=1)[0].rstrip(",.") in ("I", "I'm") or language == "de"
        text = f"{opener.capitalize()}, {text if proper else text[0].lower() + text[1:]}"
    if rng.random() < chance / 2:
        text = f"{text.rstrip('.?')}, {rng.choice(CLOSERS[language])}{text[-1]}"
    return text


def misheard(rng: random.Random, text: str) -> str:
    """`text`, in a recogniser's form, with one of its words taken for another."""
    words = text.split()
    wrong = [i for i, word in enumerate(words) if word in HOMOPHONES]
    if wrong:
        i = rng.choice(wrong)
        words[i] = HOMOPHONES[words[i]]
    return " ".join(words)


def typed(rng: random.Random, text: str, language: Language) -> str:
    style = rng.random()
    if style < 0.12:
        text = text.lower()
    elif style < 0.24:
        text = text.rstrip("?.!")
    elif style < 0.36:
        text = text.lower().rstrip("?.!")
    if rng.random() < 0.1:
        text = text.replace("'", "")
    if rng.random() < 0.1:
        for word, sign in SIGNS:
            text = text.replace(word, sign)
    if language == "de" and rng.random() < 0.05:
        text = text.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue").replace("ß", "ss")
    return text


def heard(rng: random.Random, text: str, language: Language) -> str:
    """A user's turn in one of its forms; English is mostly spoken, German mostly typed."""
    if language == "en":
        text = contracted(rng, text)
    text = addressed(rng, text, language, 0.14)
    if rng.random() < (0.62 if language == "en" else 0.35):
        text = spoken(text, language)
        return misheard(rng, text) if language == "en" and rng.random() < 0.03 else text
    return typed(rng, text, language)
