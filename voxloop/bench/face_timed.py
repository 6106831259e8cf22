"""How right the face is when it is told what is spoken when, on the way that a reply takes.

Embedded Riva → sophia's clients of Riva and aurora → aurora → embedded Audio2Face: each a process of its own,
but for sophia's two clients, which are called here as a reply calls them.

- `closure_f1_timed`: closures of the lips (m, b, p) that the face shows, ± 20 ms.
- `closure_f1_timed_chance`: the same closures, moved in time by 0.4 s and more.
- `closure_f1_words`: the same sentences, ± 20 ms, of which only the times of words are told, as NVIDIA's Riva
  has them; `closure_f1_untimed`: with all times held back.
- `closure_shift_ms`: by how much closures were shown too late, from the middle of one to the middle of the
  other, on average; `closure_shift_ms_p95` and `…_words` either way. Above a closure counts if it is merely
  touched, and may come 40 ms early for that; here it may not.
- `jaw_r_timed`, `jaw_r_untimed`: Pearson's r of JawOpen and how far the phones open the jaw.

What is right is said by espeak-ng in this process, which speaks the same sentences once more: its times
differ by a few ms from one time to the next, by 11 ms as far as seen. So the figures tell that none is lost
or shifted between the voice and the picture, and that 30 frames a second show every closure. They do not tell
that espeak-ng's times are those of its own sound (tests/embedded/speech holds that the sound is quiet in its
closures), nor how another voice's times would do; and of the jaw little, for what phones do to it is written
twice by one hand, in embedded/face/visemes.py and in the measure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from embedded.face.blendshapes import INDEX, Array
from embedded.face.engine import FPS
from embedded.speech.voices import VOICES
from services.sophia.events import Animation
from services.sophia.face import Face, FaceStream
from services.sophia.riva import Riva, Speech
from shared.audio import RATE, WholeSamples
from voxloop.bench.face_accuracy import (
    CLOSED,
    SENTENCES,
    SHIFTS,
    TIGHT_S,
    Span,
    closures,
    f1,
    hits,
    pearson,
    spans,
    truth,
)
from voxloop.bench.face_voices import Utterance, espeak_says

GERMAN = (
    "Guten Morgen, ich bin die Stimme am Pult.",
    "Bitte bring mir bald ein paar braune Pappbecher mit.",
    "Im Sommer blühen hier viele bunte Blumen.",
    "Die Straße war breit und die Sonne stand hoch.",
)
TEXTS = [(voice, text) for voice in VOICES for text in (GERMAN if voice.language == "de-DE" else SENTENCES)]
"""In the voices of the embedded Riva."""


@dataclass(frozen=True)
class Shown:
    """What was heard, with the phones that are right, and what was seen with it."""

    spoken: Utterance
    weights: Array
    """(frames, 52)"""


async def measure_timed(riva: Riva, face: Face, count: int | None = None) -> dict[str, float | int | None]:
    """Raises PeerError. Says `count` sentences, or all."""
    told, words, untold = list[Shown](), list[Shown](), list[Shown]()
    for turn, (voice, text) in enumerate(TEXTS[:count]):
        phones = espeak_says(text, voice).phones
        for shown, tells in ((told, _everything), (words, _words), (untold, _nothing)):
            sound, weights = await _reply(riva, face, turn, text, voice.language, tells)
            shown.append(Shown(Utterance(sound, phones), weights))
    return {
        "closure_f1_timed": _closure_f1(told),
        "closure_f1_timed_chance": _chance_f1(told),
        "closure_f1_words": _closure_f1(words),
        "closure_f1_untimed": _closure_f1(untold),
        "closure_shift_ms": _shift_ms(told),
        "closure_shift_ms_p95": _shift_ms_p95(told),
        "closure_shift_ms_p95_words": _shift_ms_p95(words),
        "jaw_r_timed": _jaw_r(told),
        "jaw_r_untimed": _jaw_r(untold),
    }


Tells = Callable[[FaceStream, Speech], None]


def _everything(stream: FaceStream, piece: Speech) -> None:
    stream.timing(piece.words, piece.phones, 0.0)


def _words(stream: FaceStream, piece: Speech) -> None:
    stream.timing(piece.words, (), 0.0)


def _nothing(_: FaceStream, __: Speech) -> None:
    pass


async def _reply(
    riva: Riva, face: Face, turn: int, text: str, language: str, tells: Tells
) -> tuple[Array, Array]:
    """The sound (n,) at 16 kHz, and the weights (frames, 52) that aurora gives for it."""
    stream = face.animate("timed", turn, RATE)
    pcm, whole = bytearray(), WholeSamples()

    async def speak() -> None:
        async with aclosing(riva.synthesize(text, language, "", RATE)) as speech:
            async for piece in speech:
                tells(stream, piece)
                if sound := whole.feed(piece.pcm):
                    stream.audio(sound)
                    pcm.extend(sound)
        stream.end()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speak())
        async with aclosing(stream.frames()) as frames:
            weights = [frame.weights async for frame in frames if isinstance(frame, Animation)]
    sound: Array = np.frombuffer(bytes(pcm), "<i2").astype(np.float32) / np.float32(32768)
    return sound, np.array(weights, np.float32)


def _closure_f1(all_shown: Sequence[Shown]) -> float:
    counts = np.zeros(3, np.int64)
    for one in all_shown:
        counts += hits(closures(one.spoken), _closures_shown(one, 0), TIGHT_S)
    return f1(counts)


def _chance_f1(all_shown: Sequence[Shown]) -> float:
    random = np.random.default_rng(0)
    counts = np.zeros(3, np.int64)
    for one in all_shown:
        for _ in range(SHIFTS):
            moved = _closures_shown(one, int(random.integers(12, max(13, len(one.weights) - 12))))
            counts += hits(closures(one.spoken), moved, TIGHT_S)
    return f1(counts)


def _closures_shown(one: Shown, moved: int) -> list[Span]:
    """While phones sound, `moved` by so many frames around the whole of the sentence."""
    shut = one.weights[:, INDEX["MouthPressLeft"]] > CLOSED
    _, speaks = truth(one.spoken, len(one.weights))
    return spans(np.roll(shut, moved) & (speaks > 0))


def _shift_ms(all_shown: Sequence[Shown]) -> float | None:
    shifts = _shifts_ms(all_shown)
    return round(float(np.mean(shifts)), 1) if shifts else None


def _shift_ms_p95(all_shown: Sequence[Shown]) -> float | None:
    shifts = _shifts_ms(all_shown)
    return round(float(np.percentile(np.abs(shifts), 95)), 1) if shifts else None


def _shifts_ms(all_shown: Sequence[Shown]) -> list[float]:
    return [
        500 * (start + end - 1 / FPS - real_start - real_end)  # a frame is a moment, the last one too
        for one in all_shown
        for start, end in _closures_shown(one, 0)
        for real_start, real_end in closures(one.spoken)
        if start < real_end + TIGHT_S and end > real_start - TIGHT_S
    ]


def _jaw_r(all_shown: Sequence[Shown]) -> float:
    return pearson(
        [one.weights[:, INDEX["JawOpen"]] for one in all_shown],
        [truth(one.spoken, len(one.weights))[0] for one in all_shown],
    )
