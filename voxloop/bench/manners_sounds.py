"""What people let out while somebody else speaks, and do not mean: coughs, clicks, and "mhm".

Made by a seed, so that every run plays the same. PCM16 mono at 16 kHz, from a sound's first sample to its
last.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.sophia.riva import Riva
from shared.audio import RATE

Samples = NDArray[np.float64]
FULL_SCALE = 32767
KINDS = ("cough", "click", "mhm")
SPOKEN = ("Mm-hmm.", "Uh-huh.", "Mhm.", "Hmm.", "Mm.", "Uh.", "Ah.", "Oh.")
SEED = 4


@dataclass(frozen=True)
class Noise:
    kind: str
    pcm: bytes


async def noises(count: int, riva: Riva) -> list[Noise]:
    """As many of each kind, mixed; the speech server lends its voice to those that are spoken."""
    rng = random.Random(SEED)  # noqa: S311 - makes sounds, not secrets
    made = [await _noise(KINDS[number % len(KINDS)], rng, riva) for number in range(count)]
    rng.shuffle(made)
    return made


async def _noise(kind: str, rng: random.Random, riva: Riva) -> Noise:
    if kind == "mhm":
        return Noise(kind, await _mhm(rng, riva))
    sound = cough(rng) if kind == "cough" else clicks(rng)
    return Noise(kind, (sound * FULL_SCALE).astype("<i2").tobytes())


def cough(rng: random.Random) -> Samples:
    """One to three bursts of breath through a throat: a sharp beginning, and then less and less."""
    bursts = []
    for _ in range(rng.randint(1, 3)):
        burst = _breath(
            rng.uniform(0.12, 0.35), [rng.uniform(0.8, 1.25) * peak for peak in (500, 1300, 2600)], rng
        )
        bursts += [burst, np.zeros(int(RATE * rng.uniform(0.03, 0.12)))]
    return _at_level(np.concatenate(bursts), rng)


def _breath(seconds: float, peaks_hz: Sequence[float], rng: random.Random) -> Samples:
    length = int(RATE * seconds)
    spectrum = np.fft.rfft(np.random.default_rng(rng.getrandbits(32)).normal(size=length))
    hz = np.fft.rfftfreq(length, 1 / RATE)
    throat = sum(np.exp(-(((hz - peak) / 350) ** 2)) for peak in peaks_hz)
    at = np.arange(length) / RATE
    return np.fft.irfft(spectrum * throat, length) * np.minimum(1, at / 0.008) * np.exp(-at / (seconds / 3))


def clicks(rng: random.Random) -> Samples:
    """A mouse, a key, a pen on the table: a few short blows, each with the ring of what was hit."""
    sound = np.zeros(int(RATE * 0.35))
    for _ in range(rng.randint(1, 4)):
        at = np.arange(int(RATE * rng.uniform(0.004, 0.03))) / RATE
        ring = np.sin(2 * np.pi * rng.uniform(800, 5000) * at) * np.exp(-at / rng.uniform(0.001, 0.006))
        start = rng.randrange(len(sound) - len(ring))
        sound[start : start + len(ring)] += ring
    return _at_level(sound, rng)


async def _mhm(rng: random.Random, riva: Riva) -> bytes:
    """By the speech server's voice, higher or lower: asked for at a rate that it is not played at."""
    rate = round(RATE * rng.uniform(0.85, 1.2))
    return b"".join([piece.pcm async for piece in riva.synthesize(rng.choice(SPOKEN), "en-US", "", rate)])


def _at_level(sound: Samples, rng: random.Random) -> Samples:
    return np.asarray(sound * (rng.uniform(0.1, 0.6) / np.abs(sound).max()))
