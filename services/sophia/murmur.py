"""Whether what was heard is one sound held or repeated, as in "mhm", "uh-huh" and "ah".

Recognisers make words of such sounds ("who", "you"), with confidence. What tells them apart is that a word
moves: its loud parts differ from each other in the shape of their spectrum, and a murmur's do not.

Measured on espeak-ng's voice, faster and slower: the shapes of "mhm", "mm", "hmm", "uh-huh", "uh" and "ah"
are up to 3 dB from their mean, those of 30 short words 4 to 11 dB ("stop", from 3, hisses); of real speech in
pieces of 300 ms, one in 30 is below.
"""

from __future__ import annotations

import numpy as np

from shared.audio import RATE

WINDOW, HOP, FFT = 400, 160, 512  # samples
_HANN = np.hanning(WINDOW).astype(np.float32)
_EDGES = np.unique(np.geomspace(100, 7600, 21) * FFT / RATE + 0.5).astype(int)
"""Bins at which bands of about a third of an octave begin."""
_WIDTHS = np.diff(_EDGES).astype(np.float32)
_CENTRES = (_EDGES[:-1] + _EDGES[1:]) / 2 * RATE / FFT  # Hz
_LOW, _HIGH = _CENTRES < 1100, _CENTRES > 3500
_FLOOR = np.float32(1e-6)  # what a good microphone makes of a silent room
ABOVE_SILENCE_DB = 35
"""The loudest frame of a voice near the microphone, which a room and a fan are not."""
LOUD_DB, AUDIBLE_DB = 12, 25
"""Below the loudest, the frames that are compared, and those that may hiss."""
ALIKE_DB = 3.2
"""A murmur's shapes differ from their mean by less, on average."""
HISSES = 2
"""So many frames with more sound above 3.5 kHz than below 1.1 kHz are a consonant's."""
SHORTEST = 8
"""Frames, 80 ms."""


def is_murmur(pcm: bytes) -> bool:
    """PCM16 mono at 16 kHz, with silence around it or without; some 1 ms of CPU for 2 s."""
    sound = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
    count = (len(sound) - WINDOW) // HOP + 1
    if count < SHORTEST:
        return False
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP] * _HANN
    spectrum = np.fft.rfft(frames, FFT, axis=1)[:, : _EDGES[-1]]
    power = np.add.reduceat(np.square(np.abs(spectrum)), _EDGES[:-1], axis=1) / _WIDTHS + _FLOOR
    level = 10 * np.log10(power.sum(axis=1))
    hisses = (power[:, _HIGH].sum(axis=1) > power[:, _LOW].sum(axis=1)) & (level > level.max() - AUDIBLE_DB)
    shapes = 10 * np.log10(power[level > level.max() - LOUD_DB])
    shapes -= shapes.mean(axis=1, keepdims=True)
    apart = np.sqrt(np.square(shapes - shapes.mean(axis=0)).mean(axis=1)).mean()
    is_sound = level.max() > 10 * np.log10(_FLOOR * len(_WIDTHS)) + ABOVE_SILENCE_DB
    return bool(is_sound and len(shapes) >= SHORTEST and apart < ALIKE_DB and hisses.sum() < HISSES)
