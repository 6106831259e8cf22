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
MAX_FILE_RATE = 192000

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
    """Any WAV (8 to 64 bit, 8 to 192 kHz, any channel count) as PCM16 mono at `rate`.

    What is PCM16 mono at `rate` already comes back sample for sample. Raises AudioError.
    """
    name = str(source) if isinstance(source, Path) else "the upload"
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            # By its descriptor: given a name, libsndfile believes the suffix (.raw) and not the header.
            data, source_rate = _decode(stream if isinstance(stream, io.BytesIO) else stream.fileno(), name)
    except FileNotFoundError:
        raise AudioError(f"{name} does not exist") from None
    except OSError as error:
        raise AudioError(f"{name} is not a readable WAV file ({error.strerror})") from None
    if not len(data):
        raise AudioError(f"{name} holds no audio")
    if not np.isfinite(data).all():
        raise AudioError(f"{name} holds samples that are not numbers")
    mono = np.clip(data, -1.0, 1.0).mean(axis=1)
    if source_rate != rate:
        mono = soxr.resample(mono, source_rate, rate, quality="HQ")
    pcm: NDArray[np.int16] = np.clip(np.rint(mono * 32768.0), -32768, 32767).astype("<i2")
    return pcm.tobytes()


def _decode(file: io.BytesIO | int, name: str) -> tuple[NDArray[np.float32], int]:
    """Samples as (frames, channels), and their rate in Hz."""
    try:
        with soundfile.SoundFile(file, closefd=False) as sound:
            # WAV alone: in other formats a header of a few bytes may claim terabytes of samples, and is
            # believed. Nor a rate at which few samples become a great many at ours.
            if sound.format not in ("WAV", "WAVEX", "RF64") or not sound.seekable():
                raise AudioError(f"{name} is not a readable WAV file ({sound.format}, {sound.subtype})")
            if not MIN_RATE <= sound.samplerate <= MAX_FILE_RATE:
                raise AudioError(
                    f"{name} is at {sound.samplerate} Hz, outside {MIN_RATE}..{MAX_FILE_RATE} Hz"
                )
            return np.asarray(sound.read(dtype="float32", always_2d=True), np.float32), sound.samplerate
    except soundfile.LibsndfileError:
        raise AudioError(f"{name} is not a readable WAV file") from None


def write_wav(path: Path, pcm: bytes, rate: int) -> None:
    """Raises AudioError where `path` cannot be written."""
    try:
        soundfile.write(path, np.frombuffer(pcm, "<i2"), rate, subtype="PCM_16", format="WAV")
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path} cannot be written ({error.error_string})") from None


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
