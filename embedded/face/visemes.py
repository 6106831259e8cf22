"""What the mouth does in each phone, and how it moves from one to the next.

A phone binds the articulators that it is made with and leaves the others free: a t says nothing of the lips,
so in "two" they are rounded by the u before it is heard. What is free moves straight from the phone before to
the one after; then each articulator is smoothed over the time that its flesh takes to move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from embedded.face.blendshapes import ARTICULATORS, CLOSE, Array
from embedded.face.features import HOPS_PER_S
from shared.phones import PAUSE, Mark

FREE = np.nan
MIN_CLOSED_S = 0.04
"""A shorter closure begins earlier: one of less than 34 ms may fall between two frames."""


def _binds(**articulators: float) -> Array:
    """(7,): what is named; fv, sibilant, tongue and closed lips are undone by whatever does not name them."""
    bound = {"close": 0.0, "fv": 0.0, "sibilant": 0.0, "tongue": 0.0} | articulators
    return np.array([bound.get(name, FREE) for name in ARTICULATORS], np.float32)


def _vowel(jaw: float, round: float = 0.0, spread: float = 0.0) -> Array:  # noqa: A002 - the articulator
    return _binds(jaw=jaw, round=round, spread=spread)


_LIPS = _binds(jaw=0.05, close=1.0)
_TEETH = _binds(jaw=0.1, fv=1.0)
_TONGUE = _binds(jaw=0.15, tongue=0.7)
_HISS = _binds(jaw=0.08, sibilant=1.0, spread=0.3)
_HUSH = _binds(jaw=0.1, sibilant=0.9, round=0.5)
_BACK = _binds(jaw=0.25)

_IPA: Mapping[str, Array] = {
    "m": _LIPS, "b": _LIPS, "p": _LIPS, "ɓ": _LIPS, "β": _binds(jaw=0.1, close=0.6), "ɸ": _TEETH,
    "f": _TEETH, "v": _TEETH, "ɱ": _TEETH, "ʋ": _binds(jaw=0.15, fv=0.6),
    "t": _TONGUE, "d": _TONGUE, "n": _TONGUE, "ʈ": _TONGUE, "ɖ": _TONGUE, "ɳ": _TONGUE, "ɗ": _TONGUE,
    "ɾ": _binds(jaw=0.2, tongue=0.6), "r": _binds(jaw=0.25, tongue=0.6), "ɽ": _binds(jaw=0.25, tongue=0.6),
    "l": _binds(jaw=0.3, tongue=0.8), "ɫ": _binds(jaw=0.3, tongue=0.8), "ɬ": _binds(jaw=0.2, tongue=0.8),
    "ɭ": _binds(jaw=0.3, tongue=0.8), "θ": _binds(jaw=0.2, tongue=1.0), "ð": _binds(jaw=0.2, tongue=1.0),
    "s": _HISS, "z": _HISS, "ʃ": _HUSH, "ʒ": _HUSH, "ʂ": _HUSH, "ʐ": _HUSH, "ɕ": _HUSH, "ʑ": _HUSH,
    "ç": _binds(jaw=0.15, sibilant=0.4, spread=0.4), "ʝ": _binds(jaw=0.2, spread=0.5),
    "ɹ": _binds(jaw=0.25, round=0.35), "ɻ": _binds(jaw=0.25, round=0.35),
    "w": _binds(jaw=0.2, round=1.0, spread=0.0), "ʍ": _binds(jaw=0.2, round=1.0, spread=0.0),
    "ɥ": _binds(jaw=0.2, round=0.9, spread=0.0), "j": _binds(jaw=0.2, spread=0.6),
    "k": _BACK, "g": _BACK, "ɡ": _BACK, "ŋ": _BACK, "x": _BACK, "ɣ": _BACK, "ʁ": _BACK, "ʀ": _BACK,
    "q": _BACK, "χ": _BACK, "c": _BACK, "ɟ": _BACK,
    "ɲ": _binds(jaw=0.2, tongue=0.4), "ʎ": _binds(jaw=0.25, tongue=0.4),
    "h": _binds(), "ɦ": _binds(), "ʔ": _binds(), "ħ": _binds(jaw=0.4), "ʕ": _binds(jaw=0.4),
    "i": _vowel(0.2, spread=0.9), "ɪ": _vowel(0.3, spread=0.5), "ᵻ": _vowel(0.3, spread=0.3),
    "ɨ": _vowel(0.25, spread=0.3), "e": _vowel(0.45, spread=0.6), "ɛ": _vowel(0.55, spread=0.4),
    "æ": _vowel(0.8, spread=0.4), "a": _vowel(0.9, spread=0.15), "ɑ": _vowel(0.95),
    "ɐ": _vowel(0.6, spread=0.1), "ʌ": _vowel(0.6), "ə": _binds(jaw=0.4), "ɘ": _binds(jaw=0.4),
    "ɚ": _vowel(0.35, 0.35), "ɜ": _vowel(0.45, 0.2), "ɝ": _vowel(0.4, 0.3),
    "ɔ": _vowel(0.65, 0.6), "ɒ": _vowel(0.8, 0.35), "o": _vowel(0.5, 0.8),
    "ɵ": _vowel(0.4, 0.6), "ɤ": _vowel(0.5), "ɯ": _vowel(0.25, spread=0.4), "ʊ": _vowel(0.35, 0.7),
    "ᵿ": _vowel(0.3, 0.4), "u": _vowel(0.25, 1.0), "ʉ": _vowel(0.25, 0.9), "y": _vowel(0.25, 0.9),
    "ʏ": _vowel(0.3, 0.7), "ø": _vowel(0.4, 0.85), "œ": _vowel(0.55, 0.65),
}  # fmt: skip
"""One sound each. espeak-ng's longer names are several of these (aɪ, tʃ); other marks are passed over."""

_ARPABET: Mapping[str, str] = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "aʊ", "AX": "ə", "AXR": "ɚ", "AY": "aɪ", "B": "b",
    "CH": "tʃ", "D": "d", "DH": "ð", "DX": "ɾ", "EH": "ɛ", "EL": "əl", "EM": "m", "EN": "n", "ER": "ɝ",
    "EY": "eɪ", "F": "f", "G": "ɡ", "H": "h", "HH": "h", "HV": "h", "IH": "ɪ", "IX": "ɪ", "IY": "i",
    "JH": "dʒ", "K": "k", "L": "l", "M": "m", "N": "n", "NG": "ŋ", "NX": "n", "OW": "oʊ", "OY": "ɔɪ",
    "P": "p", "Q": "ʔ", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ", "UH": "ʊ", "UW": "u", "UX": "u",
    "V": "v", "W": "w", "WH": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip

_PAUSES = frozenset({"", PAUSE, "_:", "SIL", "SP", "SPN", "PAU", "H#"})
_REST: Array = np.zeros(len(ARTICULATORS), np.float32)

LONGEST_LABEL = 16
"""Characters; a label is one phone, not a text."""

#        jaw, close, round, spread, fv, sibilant, tongue
_SPANS = (11, 3, 17, 13, 5, 5, 5)
"""Hops over which a movement is smoothed: lips meet and part within one frame, they round within three."""
_REACH = max(_SPANS) // 2
"""Hops on both sides of one that its smoothing sees."""
_FREE = 32
"""What is free for longer than so many hops comes to rest between."""
CONTEXT = _REACH + _FREE
"""Hops on both sides of one that it may depend on."""


@lru_cache(1024)
def movements(label: str) -> Array | None:
    """(k, 7): what the mouth does in this phone, in turn, NaN where it does not matter. None where nothing
    of the label is known."""
    if len(label) > LONGEST_LABEL:
        return None
    name = label.removeprefix("{@").removesuffix("}")
    if name.upper() in _PAUSES:
        return _REST[None]
    if name.isascii() and name.isupper():
        name = _ARPABET.get(name.rstrip("012"), "")
    known = [_IPA[symbol] for symbol in name if symbol in _IPA]
    return np.stack(known) if known else None


def is_closed(label: str) -> bool:
    """Whether the lips are shut in it."""
    moves = movements(label)
    return moves is not None and bool((moves[:, CLOSE] == 1).any())


def track(phones: Sequence[Mark], first: int, count: int) -> tuple[Array, NDArray[np.bool_]]:
    """Articulators (count, 7) at the middles of the hops from number `first` on, and (count,) whether a phone
    was known there; what lies between is 0. Phones are in order and do not overlap."""
    if not count:
        return np.zeros((0, len(ARTICULATORS)), np.float32), np.zeros(0, np.bool_)
    targets = np.full((count + 2 * CONTEXT, len(ARTICULATORS)), FREE, np.float32)
    known = np.zeros(len(targets), np.bool_)
    for phone in phones:
        if (moves := movements(phone.label)) is not None:
            _lay(targets, known, phone, moves, first - CONTEXT)
    _fill(targets)
    near = targets[CONTEXT - _REACH : CONTEXT + count + _REACH]
    moved = [np.convolve(column, kernel, "same") for column, kernel in zip(near.T, _KERNELS, strict=True)]
    inner = known[CONTEXT : CONTEXT + count]
    shown: Array = np.stack(moved, axis=1)[_REACH : _REACH + count] * inner[:, None]
    return shown, inner


def _lay(targets: Array, known: NDArray[np.bool_], phone: Mark, moves: Array, first: int) -> None:
    """The phone's movements share its time evenly."""
    step_s = (phone.end_s - phone.start_s) / len(moves)
    start_s = phone.start_s
    if moves[0, CLOSE] == 1:
        start_s = min(start_s, phone.start_s + step_s - MIN_CLOSED_S)
    begun = at = _hop(start_s, first, len(targets))
    for number, move in enumerate(moves, 1):
        until = _hop(phone.start_s + number * step_s, first, len(targets))
        targets[at:until] = move
        at = until
    known[begun:at] = True


def _hop(time_s: float, first: int, count: int) -> int:
    """The row of the first hop whose middle does not lie before `time_s`."""
    return min(max(math.ceil(time_s * HOPS_PER_S - 0.5) - first, 0), count)


def _fill(targets: Array) -> None:
    """What is free moves straight from where it was bound to where it is bound next; where that is farther
    than _FREE, to rest and from rest, so that nothing depends on what lies beyond."""
    for column in targets.T:
        bound, free = np.flatnonzero(~np.isnan(column)), np.flatnonzero(np.isnan(column))
        at = np.concatenate([[-_FREE], bound, [len(column) + _FREE]])
        values = np.concatenate([[0], column[bound], [0]])
        after = np.searchsorted(at, free)
        behind, ahead = free - at[after - 1], at[after] - free
        span = np.minimum(behind + ahead, _FREE)
        column[free] = values[after - 1] * np.maximum(0, 1 - behind / span)
        column[free] += values[after] * np.maximum(0, 1 - ahead / span)


def _kernel(span: int) -> Array:
    window = np.hanning(span + 2)[1:-1].astype(np.float32)
    scaled: Array = window / window.sum()
    return scaled


_KERNELS = tuple(map(_kernel, _SPANS))
