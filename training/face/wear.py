"""What lies between a voice and the face: another throat, a room, a microphone, a codec, noise.

Each takes sound at 16 kHz (float32, -1 to 1) and gives as much of it back, except `at_speed`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import soxr
from numpy.typing import NDArray

from embedded.face.blendshapes import Array
from embedded.face.features import RATE

Random = np.random.Generator
Response = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Gains at frequencies in Hz."""

SPEEDS = (0.82, 1.22)
GAIN_DB = (-24, 3)
NOISE_DB = (12, 50)
"""Below the speech."""
EQ_POINTS, EQ_DB = 7, 5.0
BANDS_HZ = ((300, 3400), (100, 3900), (50, 5500), (200, 7000))
ROOM_S = (0.05, 0.25)
LOUDEST = 0.99


def at_speed(sound: Array, speed: float) -> Array:
    """As from a tape: pitch and formants move with it, so it is another speaker's."""
    return np.asarray(soxr.resample(sound, RATE * speed, RATE, "MQ"), np.float32)


def worn(sound: Array, random: Random) -> Array:
    """Some of all that, by chance."""
    if random.random() < 0.25:
        sound = _in_room(sound, random)
    if random.random() < 0.8:
        sound = _filtered(sound, _tone(random))
    if random.random() < 0.25:
        low, high = BANDS_HZ[random.integers(len(BANDS_HZ))]
        sound = _filtered(sound, _band(low, high))
    sound = sound + _noise(len(sound), random) * _level(sound) * 10 ** (-random.uniform(*NOISE_DB) / 20)
    peak = np.abs(sound).max(initial=1e-6)
    gain = min(10 ** (random.uniform(*GAIN_DB) / 20) / peak, LOUDEST / peak * 1.3)  # now and then it clips
    return np.clip(sound * gain, -1, 1).astype(np.float32)


def _tone(random: Random) -> Response:
    """A smooth curve of gains over the logarithm of the frequency."""
    at = np.log(np.geomspace(60, RATE / 2, EQ_POINTS))
    gains_db = random.normal(0, EQ_DB, EQ_POINTS)
    return lambda hz: 10 ** (np.interp(np.log(hz + 1), at, gains_db) / 20)


def _band(low: float, high: float) -> Response:
    return lambda hz: 1 / np.sqrt((1 + (low / (hz + 1)) ** 8) * (1 + (hz / high) ** 12))


def _filtered(sound: Array, response: Response) -> Array:
    size = _fast(len(sound))
    spectrum = np.fft.rfft(sound, size)
    return np.fft.irfft(spectrum * response(np.fft.rfftfreq(size, 1 / RATE)), size)[: len(sound)]


def _in_room(sound: Array, random: Random) -> Array:
    length = round(random.uniform(*ROOM_S) * RATE)
    echo = random.normal(0, 1, length) * np.exp(-6.9 * np.arange(length) / length)
    echo *= random.uniform(0.1, 0.5) / np.sqrt(np.square(echo).sum())
    echo[0] = 1
    size = _fast(len(sound) + length)
    return np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(echo, size), size)[: len(sound)]


def _noise(length: int, random: Random) -> Array:
    """Of a colour between white and brown, and of a power of 1."""
    size = _fast(length)
    spectrum = np.fft.rfft(random.normal(0, 1, size))
    spectrum /= np.fft.rfftfreq(size, 1 / RATE).clip(50) ** random.uniform(0, 1)
    noise = np.fft.irfft(spectrum, size)[:length]
    return noise / np.sqrt(np.square(noise).mean())


def _fast(length: int) -> int:
    """A size of which the Fourier transform is quick."""
    return 1 << (length - 1).bit_length()


def _level(sound: Array) -> float:
    """Of what is loud in it, so that pauses do not count."""
    return float(np.sqrt(np.square(sound[np.abs(sound) > 0.02 * np.abs(sound).max(initial=1e-6)]).mean()))
