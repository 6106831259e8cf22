"""What the mouth does, read from the sound by rules of phonetics. No training data at all."""

from __future__ import annotations

import numpy as np

from embedded.face.blendshapes import ARTICULATORS, CLOSE, JAW, ROUND, SIBILANT, SPREAD, Array
from embedded.face.features import CENTRES

HISTORY = 9
LOOKAHEAD = 4
"""Hops before and after the one that is judged; 40 ms ahead, and the lips are seen to open again."""

Hz = tuple[float, float]

CUES: tuple[tuple[Hz, Hz | None, float, float], ...] = (
    # power between, over the power between, in dB: 0 at and below, 1 at and above
    ((200, 4000), None, -24, -2),  # loudness
    ((3500, 7600), (80, 1100), -3, 6),  # hiss: all above, nothing below
    ((80, 450), (450, 2800), 8, 16),  # hum: with the lips closed only the nose sounds
    ((80, 450), None, -16, -8),  # … and it is loud enough to be a voice
    ((450, 1100), (80, 450), -6, 6),  # openness: the first formant rises as the jaw falls
    ((600, 1300), (1700, 2800), 10, 20),  # dark: rounded lips lower the second formant
    ((1700, 2800), (600, 1300), -2, 8),  # bright: spread lips raise it
    ((3500, 7600), None, -18, -8),  # loud hiss
)
GAP_BAND: Hz = (350, 3500)
GAP_DB = (9, 18)
"""A p or b drops the voice by this much between louder sound on both sides."""


def _between(band: Hz | None) -> Array:
    """(24,): which mel bands lie there; none at all for None."""
    low, high = band or (0, 0)
    return ((low <= CENTRES) & (high > CENTRES)).astype(np.float32)


_OVER: Array = np.stack([_between(over) for over, *_ in CUES], axis=1)
_UNDER: Array = np.stack([_between(under) for _, under, *_ in CUES], axis=1)
_REFERENCE = np.array([0.0 if under else 1.0 for _, under, *_ in CUES], np.float32)
_LOW = np.array([low for *_, low, _ in CUES], np.float32)
_WIDTH = np.array([high - low for *_, low, high in CUES], np.float32)
_GAP: Array = _between(GAP_BAND)
_QUIET = np.float32(1e-6)

_AHEAD = np.arange(0, LOOKAHEAD + 1)
_BEHIND = np.arange(-HISTORY, 1)


def articulate(context: Array) -> Array:
    """Relative log-mel (HISTORY + n + LOOKAHEAD, 24) to articulators (n, 7), each 0 to 1.

    Row i depends on its own hop, HISTORY before it and LOOKAHEAD after it, on nothing else.
    """
    power = np.power(np.float32(10), context)
    own = power[HISTORY : len(power) - LOOKAHEAD]
    ratio = 10 * np.log10((own @ _OVER + _QUIET) / (own @ _UNDER + _REFERENCE + _QUIET))
    loudness, hiss, hum, hum_loud, openness, dark, bright, hiss_loud = _unit((ratio - _LOW) / _WIDTH).T
    voiced = loudness * (1 - hiss)
    nasal = hum * hum_loud

    result = np.zeros((len(own), len(ARTICULATORS)), np.float32)
    closed = np.maximum(0.9 * nasal, 0.7 * _gap(power) * (1 - hiss))
    result[:, CLOSE] = closed
    result[:, JAW] = voiced * (0.25 + 0.75 * openness) * (1 - nasal) * (1 - closed)
    result[:, ROUND] = voiced * dark * (1 - 0.5 * openness)
    result[:, SPREAD] = voiced * bright
    result[:, SIBILANT] = hiss * hiss_loud * _unit(2 * loudness + 0.3)
    return result


def _gap(power: Array) -> Array:
    level = 10 * np.log10(power @ _GAP + _QUIET)
    own = np.arange(HISTORY, len(level) - LOOKAHEAD)[:, None]
    before, after = level[own + _BEHIND].max(axis=1), level[own + _AHEAD].max(axis=1)
    drop = np.minimum(before, after) - level[HISTORY : len(level) - LOOKAHEAD]
    return _unit((drop - GAP_DB[0]) / (GAP_DB[1] - GAP_DB[0]))


def _unit(value: Array) -> Array:
    """Held between 0 and 1. (Two ufuncs: np.clip costs several times as much on arrays this small.)"""
    held: Array = np.minimum(np.maximum(value, np.float32(0)), np.float32(1))
    return held
