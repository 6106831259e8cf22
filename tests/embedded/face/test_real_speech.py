"""People, not synthesisers: what they said is aligned with their sound by pocketsphinx."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from pocketsphinx import Decoder

from embedded.face.blendshapes import INDEX
from embedded.face.engine import FPS, FaceEngine, Tuning
from embedded.face.expression import Emotions
from shared.audio import RATE, read_wav
from voxloop.bench.face_accuracy import measure
from voxloop.bench.face_voices import ARPABET, Utterance

MARGIN_S = 0.15
"""Next to speech there is breath, and the alignment is not exact."""


def aligned(pcm: bytes, text: str) -> Utterance | None:
    """None where pocketsphinx cannot bring the two together."""
    decoder = Decoder(lm=None, loglevel="FATAL")
    try:
        decoder.set_align_text(" ".join(re.findall(r"[a-z']+", text.lower())))
        for finds_phones in (False, True):
            if finds_phones:
                decoder.set_alignment()
            decoder.start_utt()
            decoder.process_raw(pcm, full_utt=True)
            decoder.end_utt()
    except RuntimeError:
        return None
    phones = [phone for word in decoder.get_alignment() for phone in word if phone.name.lower() in ARPABET]
    return Utterance(
        np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768),
        tuple(
            (phone.start / 100, (phone.start + phone.duration) / 100, ARPABET[phone.name.lower()])
            for phone in phones
        ),
    )


@pytest.fixture(scope="module")
def people(clips: Path) -> list[Utterance]:
    listed = json.loads((clips / "manifest.json").read_text())
    spoken = [
        aligned(read_wav(clips / f"{clip['name']}.wav"), clip["norm"])
        for clip in listed
        if clip["lang"] == "en-US"
    ]
    found = [one for one in spoken if one]
    assert len(found) > 10
    return found


def test_people_s_lips_close_and_their_jaws_fall_when_they_do(people: list[Utterance]) -> None:
    figures = measure(people)
    assert figures["closure_f1_audio"] > 1.5 * figures["closure_f1_chance"]
    assert figures["jaw_r"] > figures["jaw_r_energy"] + 0.1


def test_the_mouth_is_shut_while_people_are_silent(people: list[Utterance]) -> None:
    still, moving = [], []
    for one in people:
        engine = FaceEngine(Emotions({}), Tuning.neutral())
        parts = [engine.feed(one.sound).weights, engine.finish(round(len(one.sound) / RATE * FPS)).weights]
        jaw = np.concatenate(parts)[:, INDEX["JawOpen"]]
        edges = [0.0, *(edge for start, end, _ in one.phones for edge in (start, end)), len(one.sound) / RATE]
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if end - start > 2 * MARGIN_S:
                still.extend(jaw[round((start + MARGIN_S) * FPS) : round((end - MARGIN_S) * FPS)])
        for start, end, _ in one.phones:
            moving.extend(jaw[round(start * FPS) : round(end * FPS)])
    assert len(still) > FPS
    assert np.median(still) < 0.02
    assert np.mean(still) < 0.25 * np.mean(moving)
