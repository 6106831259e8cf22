"""One utterance through pocketsphinx: fast readings while it is spoken, a careful one when it ends.

Two language models compete. The *domain* model knows how people talk to nova-mini and is cheap; the
*general* model knows English at large. Both score `log P(sound, words)` on the same acoustic model, so
the higher score per frame is the better explanation, and picking it is decoding with the union of both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pocketsphinx import Decoder  # type: ignore[attr-defined]

from embedded.speech.results import Options, Result, Word

HERE = Path(__file__).resolve().parent
FRAME_MS = 10
BYTES_PER_FRAME = 320
SHORTEST = 3200  # bytes, 100 ms: nobody says a word in less, and pocketsphinx fails on nothing
LOG_BASE = math.log(1.0001)  # pocketsphinx's scores are powers of this

LIVE_GENERAL = {
    "beam": 1e-40,
    "pbeam": 1e-40,
    "wbeam": 1e-25,
    "maxhmmpf": 3000,
    "maxwpf": 5,
    "fwdflat": False,
    "bestpath": False,
}
LIVE_DOMAIN = {"fwdflat": False, "bestpath": False}
CAREFUL_GENERAL = {"beam": 1e-52, "pbeam": 1e-52, "wbeam": 1e-32}
SPELT_OUT = {"mr": "mister", "mrs": "missus", "dr": "doctor"}  # the general model's spelling → what is said

DOMAIN_LEAD = 2.0
"""Score per frame by which the domain's careful reading must lead to be taken. Measured: questions to
nova-mini in four synthetic voices lead by 3.7 to 28, real speech about other things by -17 to 1.8."""
SURELY_DOMAIN, SURELY_GENERAL = 2.5, -5.0
"""Leads of the live readings at which one careful pass is enough. Measured: -3.6 to 17, -13 to -0.1."""


@dataclass(frozen=True)
class Reading:
    """One decoder's account of the sound. `score` is log-probability per frame: higher explains better."""

    result: Result
    score: float


NOTHING = Reading(Result(), -math.inf)


class Pass:
    """One decoder with one language model. What it learnt of one speaker's channel (the cepstral mean, the
    noise level) never reaches the next utterance, which may be somebody else's."""

    def __init__(self, **options: Any) -> None:
        self._decoder = Decoder(loglevel="FATAL", **options)
        self._mean = self._decoder.get_cmn(False)
        self._frames = 0

    def start(self) -> None:
        self._decoder.start_stream()
        self._decoder.set_cmn(self._mean)
        self._decoder.start_utt()
        self._frames = 0

    def feed(self, pcm: bytes) -> None:
        self._decoder.process_raw(pcm, False, False)
        self._frames += len(pcm) // BYTES_PER_FRAME

    def peek(self) -> Reading:
        """What is heard so far; without times or confidence, which need a finished lattice."""
        found = self._decoder.hyp()
        if found is None or not self._frames:
            return NOTHING
        return Reading(Result(text=_spoken(found.hypstr)), _log(found.score) / self._frames)

    def stop(self) -> None:
        self._decoder.end_utt()

    def whole(self, pcm: bytes, max_alternatives: int) -> Reading:
        """A finished utterance: the channel mean is taken over all of it before the search begins."""
        if len(pcm) < SHORTEST:
            return NOTHING
        self.start()
        self._decoder.process_raw(pcm, False, True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        if found is None:
            return NOTHING
        words = tuple(_words(self._decoder))
        text = " ".join(word.text for word in words)
        confidence = sum(word.confidence for word in words) / len(words) if words else 0.0
        others = tuple(_others(self._decoder, text, max_alternatives - 1))
        result = Result(text, 1.0, confidence, words, others)
        return Reading(result, _log(found.score) / (len(pcm) // BYTES_PER_FRAME))


class Recogniser:
    """The state of the one utterance that a worker serves at a time."""

    def __init__(self) -> None:
        domain = {"lm": str(HERE / "domain.lm.bin"), "dict": str(HERE / "domain.dict")}
        self._live = (Pass(**domain, **LIVE_DOMAIN), Pass(**LIVE_GENERAL))
        self._domain = Pass(**domain)
        self._general = Pass(**CAREFUL_GENERAL)
        self._options = Options()
        self._pcm = bytearray()
        self._open = False
        self._last = Result()

    def open(self, options: Options) -> None:
        self.drop()
        self._options = options
        self._pcm.clear()
        self._last = Result()
        for live in self._live:
            live.start()
        self._open = True

    def feed(self, pcm: bytes) -> None:
        self._pcm += pcm
        for live in self._live:
            live.feed(pcm)

    def partial(self) -> Result | None:
        """The better of the two live readings, if its text is new."""
        text = max((live.peek() for live in self._live), key=lambda reading: reading.score).result.text
        if not text or text == self._last.text:
            return None
        self._last = Result(text, _stability(self._last.text, text))
        return self._last

    def final(self) -> Result:
        """The careful reading of all that was fed. The utterance stays open: it may go on."""
        pcm = bytes(self._pcm)
        count = self._options.max_alternatives
        domain, general = (live.peek().score for live in self._live)
        if domain - general >= SURELY_DOMAIN:
            return self._domain.whole(pcm, count).result
        careful = self._general.whole(pcm, count)
        if not domain - general <= SURELY_GENERAL:  # nor where neither has heard anything, which is NaN
            other = self._domain.whole(pcm, count)
            if other.score - careful.score >= DOMAIN_LEAD:
                careful = other
        return careful.result

    def drop(self) -> None:
        if self._open:
            for live in self._live:
                live.stop()
            self._open = False


def _log(score: float) -> float:
    """pocketsphinx hands out exp(score); underflow to zero means that nothing was found."""
    return math.log(score) / LOG_BASE if score > 0 else -math.inf


def _spoken(text: str) -> str:
    return " ".join(word for word in (_word(part) for part in text.split()) if word)


def _word(token: str) -> str:
    """`read(2)` is a pronunciation of "read"; `<sil>`, `[NOISE]` and their like are no words."""
    word = "" if token[:1] in "<[+" else token.partition("(")[0]
    return SPELT_OUT.get(word, word)


def _words(decoder: Any) -> Iterator[Word]:
    for segment in decoder.seg():
        text = _word(segment.word)
        if text:
            yield Word(
                text,
                segment.start_frame * FRAME_MS,
                (segment.end_frame + 1) * FRAME_MS,
                min(1.0, max(0.0, float(segment.prob))),
            )


def _others(decoder: Any, best: str, count: int) -> Iterator[str]:
    if count <= 0:
        return
    seen = {best, ""}
    for found in islice(decoder.nbest(), 20 * count):
        text = _spoken(found.hypstr)
        if text not in seen:
            seen.add(text)
            yield text
            if len(seen) == count + 2:
                return


def _stability(before: str, now: str) -> float:
    old, new = before.split(), now.split()
    kept = sum(a == b for a, b in zip(old, new, strict=False))
    return round(kept / len(new), 2)
