"""Who speaks in training. None of those by whom the face is judged, whatever language they speak."""

from __future__ import annotations

import random
from dataclasses import dataclass

from embedded.speech.voices import Voice
from training.face.texts import sentence
from training.nova_mini.phrasing import Language
from voxloop.bench.face_voices import FLITE_JUDGE, Utterance, espeak_says, flite_says

VARIANTS: tuple[str, ...] = (
    "", "m1", "m2", "m3", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f5", "Alex", "Alicia", "Andrea",
    "Andy", "Annie", "Denis", "Diogo", "Gene", "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario",
    "Michael", "Mike", "Nguyen", "Reed", "adam", "anika", "antonio", "aunty", "belinda", "benjamin",
    "boris", "caleb", "david", "ed", "edward", "grandma", "ian", "iven", "john", "klatt", "klatt2",
    "klatt3", "linda", "marcelo", "max", "michel", "miguel", "norbert", "pablo", "paul", "pedro",
    "quincy", "rob", "robert", "sandro", "shelby", "steph", "travis", "victor", "zac",
)  # fmt: skip
"""Of espeak-ng."""
ACCENTS: dict[str, Language] = {
    "en-us": "en", "en": "en", "en-gb-x-rp": "en", "en-gb-scotland": "en", "en-us-nyc": "en", "de": "de",
}  # fmt: skip
ACCENT_SHARES = (5, 2, 1, 1, 1, 3)
FLITE: tuple[str, ...] = ("awb", "kal", "kal16", "rms", "slt")
"""All that it has; a training leaves one out."""
STRETCHES = (0.75, 1.3)
RATES = (75, 140)
"""Percent of espeak-ng's own."""
PITCHES = (-40, 60)


@dataclass(frozen=True)
class Cast:
    """`flite` is how much of the speech is flite's; `without` is its voice that must not be heard."""

    without: str = FLITE_JUDGE
    flite: float = 0.6

    def say(self, rng: random.Random, sentences: int) -> list[Utterance]:
        """All by one voice, in one manner."""
        if rng.random() < self.flite:
            flite = rng.choice([one for one in FLITE if _speaker(one) != _speaker(self.without)])
            stretch = round(rng.uniform(*STRETCHES), 2)
            return [flite_says(sentence(rng, "en"), flite, stretch) for _ in range(sentences)]
        accent = rng.choices(tuple(ACCENTS), ACCENT_SHARES)[0]
        variant = rng.choice(VARIANTS)
        voice = Voice("learnt", accent, f"{accent}+{variant}" if variant else accent)
        manner = f'rate="{rng.randint(*RATES)}%" pitch="{rng.randint(*PITCHES):+d}%"'
        texts = [sentence(rng, ACCENTS[accent]) for _ in range(sentences)]
        marked = [f"<speak><prosody {manner}>{text}</prosody></speak>" for text in texts]
        return [espeak_says(text, voice, ssml=True) for text in marked]


def _speaker(flite: str) -> str:
    """kal16 is kal at twice the rate."""
    return flite.removesuffix("16")
