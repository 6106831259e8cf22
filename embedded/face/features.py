"""Sound to 100 Hz log-mel features relative to the speaker's own level, streaming."""

from __future__ import annotations

import numpy as np

from embedded.face.blendshapes import Array

RATE = 16000  # Hz
HOP = 160  # samples; 100 hops a second
HOPS_PER_S = RATE // HOP
WINDOW = 400  # samples, 25 ms
LEAD = (WINDOW - HOP) // 2
"""Samples of silence before the first: hop i is then centred on (i + 0.5) · 10 ms."""
FFT = 512
BANDS = 24
LOWEST_HZ, HIGHEST_HZ = 80.0, 7600.0
FLOOR, CEILING = -4.0, 1.0
"""log10 of power relative to the tracked peak; what lies below the floor is silence."""


def _filterbank() -> tuple[Array, Array]:
    """Triangular mel filters (257, 24) and their centres in Hz (24,)."""
    mels = np.linspace(2595 * np.log10(1 + LOWEST_HZ / 700), 2595 * np.log10(1 + HIGHEST_HZ / 700), BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = np.linspace(0, RATE / 2, FFT // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = np.clip(np.minimum(rising, falling), 0.0, None)
    return filters.astype(np.float32), edges[1:-1].astype(np.float32)


FILTERS, CENTRES = _filterbank()
HANN: Array = np.hanning(WINDOW).astype(np.float32)


class LogMel:
    """Samples in (float32, -1 to 1, 16 kHz), finished hops out."""

    def __init__(self) -> None:
        self._rest: Array = np.zeros(LEAD, np.float32)

    def feed(self, samples: Array) -> Array:
        """(hops, 24), log10 of power."""
        sound = np.concatenate([self._rest, samples])
        hops = max(0, (len(sound) - WINDOW) // HOP + 1)
        self._rest = sound[hops * HOP :]
        if not hops:
            return np.zeros((0, BANDS), np.float32)
        step = sound.itemsize  # a view: for pieces this small an index array costs as much as the transform
        frames: Array = np.ndarray((hops, WINDOW), np.float32, sound, strides=(HOP * step, step))
        spectrum = np.fft.rfft(frames * HANN, FFT, axis=1)
        features: Array = np.log10((spectrum.real**2 + spectrum.imag**2) @ FILTERS + np.float32(1e-7))
        return features


class Level:
    """Follows the peak of the speech, fast up and slowly down, and takes it off: a quiet voice opens the
    mouth as far as a loud one, and room noise does not."""

    START, LOWEST = -1.0, -3.0
    UP, DOWN = 0.1, 0.002  # share of the distance in one hop

    def __init__(self) -> None:
        self._peak = self.START

    def feed(self, features: Array) -> Array:
        peaks = np.empty((len(features), 1), np.float32)
        peak = self._peak
        for hop, loudest in enumerate(features.max(axis=1, initial=self.LOWEST).tolist()):
            peak += (self.UP if loudest > peak else self.DOWN) * (loudest - peak)
            peaks[hop] = peak
        self._peak = peak
        relative: Array = np.minimum(np.maximum(features - peaks, np.float32(FLOOR)), np.float32(CEILING))
        return relative
