"""Speech with the times of its phones, from espeak-ng's voices and from flite's where flite is installed.

The embedded face learns from these (training/face) and is judged on them (face_accuracy.py): never on a voice
that it has learnt from, which is why those that judge are named here.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from embedded.face.blendshapes import Array
from embedded.speech.espeak import Espeak, Mark, PhoneMark
from embedded.speech.voices import Voice
from shared.audio import RATE

JUDGES = (Voice("m4", "en-US", "en-us+m4"), Voice("f4", "en-US", "en-us+f4"))
"""Voices of espeak-ng that the face has never heard."""
FLITE_JUDGE = "slt"
"""Likewise of flite: a woman's, and the only one that it has."""
FLITE_S = 60
"""The longest that flite may take for one text."""

ARPABET = {
    "aa": "ɑ", "ae": "æ", "ah": "ʌ", "ao": "ɔ", "aw": "aʊ", "ax": "ə", "ay": "aɪ", "b": "b", "ch": "tʃ",
    "d": "d", "dh": "ð", "eh": "ɛ", "er": "ɜ", "ey": "eɪ", "f": "f", "g": "ɡ", "hh": "h", "ih": "ɪ",
    "iy": "i", "jh": "dʒ", "k": "k", "l": "l", "m": "m", "n": "n", "ng": "ŋ", "ow": "oʊ", "oy": "ɔɪ",
    "p": "p", "r": "ɹ", "s": "s", "sh": "ʃ", "t": "t", "th": "θ", "uh": "ʊ", "uw": "u", "v": "v", "w": "w",
    "y": "j", "z": "z", "zh": "ʒ",
}  # fmt: skip
"""flite's names of phones in IPA; a pause has none."""


@dataclass(frozen=True)
class Utterance:
    sound: Array
    """16 kHz, -1 to 1."""
    phones: tuple[tuple[float, float, str], ...]
    """From when to when (s), and its IPA name; pauses are left out."""
    voice: str = ""

    @property
    def pcm(self) -> bytes:
        return (self.sound * 32767).astype("<i2").tobytes()


def espeak_says(text: str, voice: Voice, *, ssml: bool = False) -> Utterance:
    """Raises StartupError where espeak-ng or the voice is missing."""
    espeak = Espeak()  # anew: whichever was made last gets the sound, and another may have been made since
    sound, marks = bytearray(), list[Mark]()

    def sink(pcm: bytes, more: list[Mark]) -> bool:
        sound.extend(pcm)
        marks.extend(more)
        return True

    espeak.speak(text, voice, sink, ssml)
    samples = np.frombuffer(bytes(sound), "<i2").astype(np.float32) / 32768
    length_s = len(samples) / espeak.rate
    phones = [mark for mark in marks if isinstance(mark, PhoneMark)]
    ends = [mark.start_ms / 1e3 for mark in phones[1:]] + [length_s]
    spans = zip(phones, ends, strict=True)
    return Utterance(
        _at_16_khz(samples, espeak.rate),
        tuple((mark.start_ms / 1e3, end, mark.ipa) for mark, end in spans if not mark.is_pause),
        voice.espeak,
    )


def has_flite() -> bool:
    return shutil.which("flite") is not None


def flite_says(text: str, voice: str, stretch: float = 1.0) -> Utterance:
    """`stretch` makes it slower. Raises subprocess.CalledProcessError where flite does not know the voice.

    flite names each phone and when it ends (`-psdur`), in s: "m:0.252".
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "said.wav"
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={stretch}"]
        said = subprocess.run(
            [*command, "-psdur", "-t", text, "-o", str(file)],
            check=True, capture_output=True, text=True, timeout=FLITE_S,
        )  # fmt: skip
        samples, rate = soundfile.read(file, dtype="float32")
    phones, start = [], 0.0
    for name, end in (part.rsplit(":", 1) for part in said.stdout.split()):
        if name in ARPABET:
            phones.append((start, float(end), ARPABET[name]))
        start = float(end)
    return Utterance(_at_16_khz(samples, rate), tuple(phones), f"flite {voice}")


def _at_16_khz(samples: Any, rate: int) -> Array:
    resampled: Array = soxr.resample(samples, rate, RATE)
    return np.clip(resampled, -1, 1)
