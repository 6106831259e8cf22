"""How right the embedded face is, held against the phone times of voices that it has never heard.

- `closure_f1_audio`: closures of the lips (m, b, p) that the face shows from the sound alone, ± 50 ms.
- `closure_f1_chance`: the same closures, moved in time by 0.4 s and more: what guessing would score.
- `jaw_r`: Pearson's r of JawOpen and how far the phones open the jaw; `jaw_r_energy`: the same of the sound's
  energy, which needs no face at all.
- `cpu_ms_per_s`: of the engine alone, for a second of sound in pieces of 100 ms.

All over the judges of espeak-ng, so that they can be compared from machine to machine. Where flite is
installed, `…_flite` says the same of its judge, and is harder: that is another human, not another
setting of a synthesiser from which half of the training's speech came.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedded.face.blendshapes import INDEX, Array
from embedded.face.engine import FPS, FaceEngine, Tuning
from embedded.face.expression import Emotions
from embedded.face.network import Network
from shared.audio import RATE
from voxloop.bench.face_voices import (
    FLITE_JUDGE,
    JUDGES,
    Utterance,
    espeak_says,
    flite_says,
    has_flite,
)

SENTENCES = (
    "A king ruled the state in the early days.",
    "The ship was torn apart on the sharp reef.",
    "Sickness kept him home the third week.",
    "The wide road shimmered in the hot sun.",
    "Mum bought apples, plums and a big pumpkin pie.",
    "Both boys played a game of ping pong before supper.",
    "You should keep moving until the morning bell.",
    "What would the robot do if the lamp fell?",
    "Hello, I am Sophia, nice to meet you.",
    "Aurora brings my face to life with a beam of light.",
    "Please put the blue paper in the bottom box.",
    "Every voice over the river was very faint.",
)
LOOSE_S, TIGHT_S = 0.05, 0.02
CLOSED = 0.18
"""MouthPress above which the lips count as closed."""
SHIFTS = 5
PIECE = RATE // 10
HOPS_PER_S = 100
JAW = {
    "ɑ": 0.9, "a": 0.95, "æ": 0.85, "ʌ": 0.65, "ɐ": 0.6, "ə": 0.4, "ɚ": 0.35, "ɜ": 0.4, "ɛ": 0.6, "e": 0.5,
    "ɪ": 0.35, "i": 0.25, "ᵻ": 0.3, "ɔ": 0.7, "o": 0.5, "ʊ": 0.35, "u": 0.25, "ɒ": 0.8,
    "m": 0.0, "b": 0.0, "p": 0.0, "f": 0.1, "v": 0.1, "w": 0.2, "ɹ": 0.25, "r": 0.25, "l": 0.3, "n": 0.2,
    "t": 0.15, "d": 0.15, "ɾ": 0.2, "θ": 0.2, "ð": 0.2, "s": 0.08, "z": 0.08, "ʃ": 0.1, "ʒ": 0.1, "k": 0.25,
    "ɡ": 0.25, "ŋ": 0.25, "h": 0.4, "j": 0.25, "ʔ": 0.2,
}  # fmt: skip
"""How far a phone opens the jaw, 0 to 1, as phonetics has it."""
JAW_HOPS = 9
"""The window over which it moves."""
CLOSING = ("m", "b", "p")
OF_FLITE = ("closure_f1_audio", "closure_f1_chance", "jaw_r", "jaw_r_energy")

Counts = NDArray[np.int64]
Span = tuple[float, float]
"""From when to when, s."""


def utterances() -> list[Utterance]:
    return [espeak_says(sentence, voice) for voice in JUDGES for sentence in SENTENCES]


def flite_utterances() -> list[Utterance]:
    """Empty where flite is not installed."""
    return [flite_says(sentence, FLITE_JUDGE) for sentence in SENTENCES] if has_flite() else []


def by_voice(spoken: Sequence[Utterance], heard_by: Network | None = None) -> list[dict[str, Any]]:
    """The figures of each."""
    voices = dict.fromkeys(one.voice for one in spoken)
    return [
        {"voice": voice, **measure([one for one in spoken if one.voice == voice], heard_by)}
        for voice in voices
    ]


def flite_figures(spoken: Sequence[Utterance]) -> dict[str, float | int | None]:
    """Of the whole measure, what flite's judge says beside those of espeak-ng; None where it is not there."""
    measured = measure(spoken) if spoken else {}
    return {f"{name}_flite": measured.get(name) for name in OF_FLITE}


def measure(spoken: Sequence[Utterance] | None = None, heard_by: Network | None = None) -> dict[str, float]:
    """Of the face with its own network, or with another."""
    spoken = utterances() if spoken is None else spoken
    started = time.process_time()
    poses = [_animate(one, heard_by) for one in spoken]
    cpu_s = time.process_time() - started
    length_s = sum(len(one.sound) for one in spoken) / RATE

    random = np.random.default_rng(0)
    loose, chance = (np.zeros(3, np.int64) for _ in range(2))
    jaws, opened, energy = (list[Array]() for _ in range(3))
    for one, weights in zip(spoken, poses, strict=True):
        jaw, sounding = truth(one, len(weights))
        speaks = sounding > 0
        shown = weights[:, INDEX["MouthPressLeft"]] > CLOSED
        real = closures(one)
        loose += hits(real, spans(shown & speaks), LOOSE_S)
        for _ in range(SHIFTS):
            moved = np.roll(shown, random.integers(12, max(13, len(shown) - 12)))
            chance += hits(real, spans(moved & speaks), LOOSE_S)
        jaws.append(weights[:, INDEX["JawOpen"]])
        opened.append(jaw)
        energy.append(_energy(one, len(weights)))
    return {
        "closure_f1_audio": f1(loose),
        "closure_f1_chance": f1(chance),
        "jaw_r": pearson(jaws, opened),
        "jaw_r_energy": pearson(energy, opened),
        "cpu_ms_per_s": round(1e3 * cpu_s / length_s, 2),
    }


def _animate(one: Utterance, heard_by: Network | None) -> Array:
    engine = FaceEngine(Emotions({}), Tuning.neutral(), heard_by)
    pieces = [one.sound[at : at + PIECE] for at in range(0, len(one.sound), PIECE)]
    frames = [engine.feed(piece).weights for piece in pieces]
    total = max(1, round(len(one.sound) / RATE * FPS))
    return np.concatenate([*frames, engine.finish(total).weights])


def closures(one: Utterance) -> list[Span]:
    """Closed phones that follow each other are one closure."""
    shut: list[Span] = []
    for start, end, ipa in one.phones:
        if ipa.startswith(CLOSING):
            if shut and start - shut[-1][1] < 1e-3:
                shut[-1] = (shut[-1][0], end)
            else:
                shut.append((start, end))
    return shut


def hits(real: Sequence[Span], shown: Sequence[Span], tolerance_s: float) -> Counts:
    """(3,): true positives, false positives, false negatives."""

    def meets(one: Span, others: Sequence[Span]) -> bool:
        return any(start < one[1] + tolerance_s and end > one[0] - tolerance_s for start, end in others)

    found = sum(meets(span, shown) for span in real)
    return np.array([found, sum(not meets(span, real) for span in shown), len(real) - found])


def f1(counts: Counts) -> float:
    found, wrong, missed = (int(count) for count in counts)
    return round(2 * found / max(1, 2 * found + wrong + missed), 3)


def spans(frames: NDArray[np.bool]) -> list[Span]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], frames.astype(int), [0]])))
    return [(start / FPS, end / FPS) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def truth(one: Utterance, frames: int) -> tuple[Array, Array]:
    """At the time of each frame: how far the phones open the jaw, and 1 where one sounds."""
    hops = len(one.sound) * HOPS_PER_S // RATE + 2
    jaw, speaks = np.zeros(hops, np.float32), np.zeros(hops, np.float32)
    for start, end, ipa in one.phones:
        known = [JAW[letter] for letter in ipa if letter in JAW]
        if known:
            first, last = round(start * HOPS_PER_S), round(end * HOPS_PER_S)
            middle = (first + last) // 2
            jaw[first:middle], jaw[middle:last] = known[0], known[-1]
            speaks[first:last] = 1
    window = np.hanning(JAW_HOPS)
    moved = np.convolve(jaw, window / window.sum(), "same").astype(np.float32)
    at = np.minimum((np.arange(frames) * HOPS_PER_S / FPS).round().astype(int), hops - 1)
    return moved[at], speaks[at]


def _energy(one: Utterance, frames: int) -> Array:
    """The square root of the loudness of 20 ms around each frame."""
    reach = RATE // HOPS_PER_S
    at = [round(frame * RATE / FPS) for frame in range(frames)]
    parts = (one.sound[max(0, middle - reach) : middle + reach] for middle in at)
    return np.array([np.mean(np.square(part)) ** 0.25 if len(part) else 0.0 for part in parts], np.float32)


def pearson(left: Sequence[Array], right: Sequence[Array]) -> float:
    return round(float(np.corrcoef(np.concatenate(left), np.concatenate(right))[0, 1]), 3)
