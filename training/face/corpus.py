"""Streams of speech as the network sees them: log-mel in, articulators out, in parts kept on the disk."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedded.face.blendshapes import ARTICULATORS, Array
from embedded.face.features import BANDS, FLOOR, HOP, RATE, WINDOW, Level, LogMel
from embedded.face.network import HISTORY, LOOKAHEAD
from embedded.face.visemes import track
from shared.phones import Phone
from training.face.voices import Cast
from training.face.wear import SPEEDS, Random, at_speed, worn
from voxloop.bench.face_voices import Utterance

PART = 100
"""Streams made at a time; what they are does not depend on which parts were there already."""
PAUSES_S = (0.05, 0.8)
"""Before and after a sentence."""
LONGEST = 2
"""Sentences in one stream: the first meets a level that is not known yet, the next one that is."""


@dataclass(frozen=True)
class Corpus:
    """Streams one behind the other, each with HISTORY rows of silence before and LOOKAHEAD behind it, so that
    all that a row needs of its stream lies around it."""

    features: Array
    """(rows, 24)"""
    targets: Array
    """(rows, 7)"""
    judged: Array
    """Numbers of the rows that may be asked for."""

    @classmethod
    def joined(cls, parts: Sequence[Corpus]) -> Corpus:
        starts = np.cumsum([0, *(len(part.features) for part in parts[:-1])])
        judged = [part.judged + start for part, start in zip(parts, starts, strict=True)]
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.targets for part in parts]),
            np.concatenate(judged),
        )


def stream(utterances: Sequence[Utterance], rng: Random, wear: bool = True) -> Corpus:
    """Of one voice, with pauses around each."""
    speed = rng.uniform(*SPEEDS) if wear and rng.random() < 0.8 else 1.0
    sounds, phones, at = list[Array](), list[Phone](), 0
    for one in utterances:
        sound = at_speed(one.sound, speed) if speed != 1 else one.sound
        before, after = (np.zeros(round(rng.uniform(*PAUSES_S) * RATE), np.float32) for _ in range(2))
        start_s = (at + len(before)) / RATE
        phones += [Phone(start_s + a / speed, start_s + b / speed, ipa) for a, b, ipa in one.phones]
        sounds += [before, sound, after]
        at += len(before) + len(sound) + len(after)
    sound = np.concatenate(sounds)
    sound = worn(sound, rng) if wear else sound
    edge = np.zeros((HISTORY + LOOKAHEAD) * HOP, np.float32)
    features = Level().feed(LogMel().feed(np.concatenate([sound, edge, np.zeros(WINDOW, np.float32)])))
    count = len(features) - LOOKAHEAD
    silence = np.full((HISTORY, BANDS), FLOOR, np.float32)
    targets = np.zeros((HISTORY + len(features), len(ARTICULATORS)), np.float32)
    targets[HISTORY : HISTORY + count] = track(phones, 0, count)[0]
    return Corpus(np.concatenate([silence, features]), targets, HISTORY + np.arange(count))


def made(folder: Path, cast: Cast, seed: int, parts: int) -> Corpus:
    """Part after part; one that is on the disk is not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    return Corpus.joined([_part(folder / f"{number}.npz", cast, seed, number) for number in range(parts)])


def _part(file: Path, cast: Cast, seed: int, number: int) -> Corpus:
    if not file.exists():
        streams = []
        for index in range(number * PART, (number + 1) * PART):
            choice, rng = random.Random(f"{seed} {index}"), np.random.default_rng((seed, index))
            streams.append(stream(cast.say(choice, choice.randint(1, LONGEST)), rng))
        whole = Corpus.joined(streams)
        half_written = file.with_suffix(".part.npz")
        np.savez(
            half_written,
            features=whole.features.astype(np.float16),
            targets=whole.targets.astype(np.float16),
            judged=whole.judged,
        )
        half_written.replace(file)
        print(f"{file}: {len(whole.judged) / 100:.0f} s of speech", flush=True)
    with np.load(file) as kept:
        return Corpus(kept["features"], kept["targets"], kept["judged"])
