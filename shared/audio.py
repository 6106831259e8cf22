"""PCM helpers. Everywhere in Voxloop audio is PCM16 mono little-endian `bytes`, at a named rate in Hz."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from shared.errors import AudioError

RATE = 16000
"""Hz. What recognition and the face take; other rates are resampled at the edges."""
BYTES_PER_SAMPLE = 2
MIN_RATE, MAX_RATE = 8000, 96000

SILENCE_DBFS = -60.0
"""A recording whose loudest 20 ms stays below this holds no speech."""


def check_rate(rate: int) -> int:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"sample rate {rate} Hz is outside {MIN_RATE}..{MAX_RATE} Hz")
    return rate


def duration_s(pcm: bytes, rate: int = RATE) -> float:
    return len(pcm) / (BYTES_PER_SAMPLE * rate)


class WholeSamples:
    """Turns chunks of any length into whole samples; an odd byte waits for its other half."""

    def __init__(self) -> None:
        self._odd = b""

    def feed(self, data: bytes) -> bytes:
        if self._odd:
            data = self._odd + data
        if len(data) % BYTES_PER_SAMPLE:
            self._odd = data[-1:]
            return data[:-1]
        self._odd = b""
        return data


class Resampler:
    """Streaming conversion between two rates; costs nothing where they are equal."""

    def __init__(self, source: int, target: int) -> None:
        self._stream = (
            None
            if check_rate(source) == check_rate(target)
            else soxr.ResampleStream(source, target, 1, dtype="int16", quality="HQ")
        )

    def feed(self, pcm: bytes, *, last: bool = False) -> bytes:
        """Whole samples in, whole samples out; `last` flushes the filter's tail."""
        if self._stream is None:
            return pcm
        out: NDArray[np.int16] = self._stream.resample_chunk(np.frombuffer(pcm, "<i2"), last=last)
        return out.astype("<i2", copy=False).tobytes()


def read_wav(source: Path | bytes, rate: int = RATE) -> bytes:
    """Any WAV (8 to 32 bit, any rate, any channel count) as PCM16 mono at `rate`."""
    name = str(source) if isinstance(source, Path) else "the upload"
    if isinstance(source, Path) and not source.exists():
        raise AudioError(f"{name} does not exist")
    try:
        data, source_rate = soundfile.read(
            io.BytesIO(source) if isinstance(source, bytes) else source, dtype="float32", always_2d=True
        )
    except (soundfile.LibsndfileError, OSError):
        raise AudioError(f"{name} is not a readable WAV file") from None
    if not len(data):
        raise AudioError(f"{name} holds no audio")
    mono = data.mean(axis=1)
    if source_rate != rate:
        mono = soxr.resample(mono, source_rate, rate, quality="HQ")
    pcm: NDArray[np.int16] = (np.clip(mono, -1.0, 1.0) * 32767.0).round().astype("<i2")
    return pcm.tobytes()


def write_wav(path: Path, pcm: bytes, rate: int) -> None:
    soundfile.write(path, np.frombuffer(pcm, "<i2"), rate, subtype="PCM_16", format="WAV")


def peak_dbfs(pcm: bytes, rate: int = RATE) -> float:
    """Level of the loudest 20 ms in dBFS (RMS); -inf for digital silence or nothing."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0
    window = max(1, rate // 50)
    if not samples.size:
        return float("-inf")
    padded = np.pad(samples, (0, -samples.size % window)).reshape(-1, window)
    loudest = float(np.sqrt((padded**2).mean(axis=1)).max())
    return float(20.0 * np.log10(loudest)) if loudest > 0 else float("-inf")


def is_silent(pcm: bytes, rate: int = RATE) -> bool:
    return peak_dbfs(pcm, rate) < SILENCE_DBFS
