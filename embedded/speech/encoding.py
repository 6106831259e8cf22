"""Synthesised sound as the client wants it: raw PCM16, or Opus in an Ogg stream."""

from __future__ import annotations

import io
from typing import Protocol

import numpy as np
import soundfile

from shared.audio import Resampler

_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)


class Writer(Protocol):
    def feed(self, pcm: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


class PcmWriter:
    """LINEAR_PCM without a header, as Riva sends it."""

    def __init__(self, source_rate: int, rate: int) -> None:
        self._resampler = Resampler(source_rate, rate)

    def feed(self, pcm: bytes) -> bytes:
        return self._resampler.feed(pcm)

    def finish(self) -> bytes:
        return self._resampler.feed(b"", last=True)


class OpusWriter:
    """OGGOPUS. Opus knows five rates; any other is encoded at 48 kHz, where every decoder works anyway."""

    def __init__(self, source_rate: int, rate: int) -> None:
        self._rate = rate if rate in _OPUS_RATES else _OPUS_RATES[-1]
        self._resampler = Resampler(source_rate, self._rate)
        self._buffer = io.BytesIO()
        self._taken = 0
        self._file = soundfile.SoundFile(
            self._buffer, "w", samplerate=self._rate, channels=1, format="OGG", subtype="OPUS"
        )

    def feed(self, pcm: bytes) -> bytes:
        self._file.write(np.frombuffer(self._resampler.feed(pcm), "<i2"))
        return self._take()

    def finish(self) -> bytes:
        self._file.write(np.frombuffer(self._resampler.feed(b"", last=True), "<i2"))
        self._file.close()
        return self._take()

    def _take(self) -> bytes:
        """Ogg pages are only ever appended, so what lies there will not change."""
        pages = self._buffer.getvalue()[self._taken :]
        self._taken += len(pages)
        return pages
