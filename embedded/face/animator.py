"""One stream's sound and its frames, cut into steps that hold both: picture and sound never part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from embedded.face.blendshapes import Array
from embedded.face.engine import FPS, FaceEngine, Frames
from embedded.face.features import RATE
from embedded.face.header import StreamHeader
from shared.audio import BYTES_PER_SAMPLE

PIECE_S = 0.25
"""Sound is worked on in pieces of this length, some 1 ms of CPU each, so that no stream waits for another."""


@dataclass(frozen=True)
class Step:
    """One frame and the sound from its time to the next frame's, at the client's rate."""

    time_s: float
    weights: list[float]
    audio_time_s: float
    audio: bytes


class Animator:
    def __init__(self, header: StreamHeader) -> None:
        self._rate = header.rate
        self._engine = FaceEngine(header.emotions, header.tuning)
        self.timed = self._engine.timed
        self._resampler = (
            None
            if header.rate == RATE
            else soxr.ResampleStream(header.rate, RATE, 1, dtype="float32", quality="MQ")
        )
        self._unsent = bytearray()
        self._received = self._sent = 0  # samples at the client's rate

    @property
    def received_s(self) -> float:
        return self._received / self._rate

    def feed(self, pcm: bytes) -> Iterator[list[Step]]:
        """Whole samples of any length; yields after each piece, so that the caller can let others run."""
        size = round(PIECE_S * self._rate) * BYTES_PER_SAMPLE
        for start in range(0, len(pcm), size):
            piece = pcm[start : start + size]
            self._unsent += piece
            self._received += len(piece) // BYTES_PER_SAMPLE
            yield self._steps(self._engine.feed(self._resampled(piece)))

    def finish(self) -> list[Step]:
        """The rest: round(duration · 30) frames in all, and one at least where there was any sound."""
        if not self._received:
            return []
        total = max(1, (2 * self._received * FPS + self._rate) // (2 * self._rate))
        tail = self._engine.feed(self._resampled(b"", last=True))
        return self._steps(tail) + self._steps(self._engine.finish(total), total)

    def _resampled(self, pcm: bytes, *, last: bool = False) -> Array:
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        if self._resampler is None:
            return samples
        resampled: Array = self._resampler.resample_chunk(samples, last=last)
        return resampled

    def _steps(self, frames: Frames, total: int | None = None) -> list[Step]:
        return [
            Step(number / FPS, weights, self._sent / self._rate, self._sound(number + 1, total))
            for number, weights in enumerate(frames.weights.tolist(), frames.start)
        ]

    def _sound(self, next_frame: int, total: int | None) -> bytes:
        """What has not been sent of the sound before `next_frame`; all of it with the last frame."""
        until = self._received if next_frame == total else next_frame * self._rate // FPS
        size = (until - self._sent) * BYTES_PER_SAMPLE
        audio = bytes(self._unsent[:size])
        del self._unsent[:size]
        self._sent += len(audio) // BYTES_PER_SAMPLE
        return audio
