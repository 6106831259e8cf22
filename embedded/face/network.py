"""What the mouth does, heard by a small network of our own: training/face made it, numpy alone runs it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from embedded.face.blendshapes import Array
from embedded.face.features import BANDS

HISTORY = 9
LOOKAHEAD = 4
"""Hops before and after the one that is judged; 40 ms ahead, and the lips are seen to open again."""
CONTEXT = HISTORY + 1 + LOOKAHEAD
WEIGHTS = Path(__file__).with_name("network.npz")
REST = np.float32(0.02)
"""What it shows of nothing at all, at most: below that the mouth rests."""
NAMES = ("matrix1", "offset1", "matrix2", "offset2", "matrix3", "offset3")


class Network:
    """Two hidden layers of rectified units; what comes out is between 0 and 1."""

    def __init__(self, file: Path = WEIGHTS) -> None:
        with np.load(file) as kept:
            self._weights = [np.ascontiguousarray(kept[name], np.float32) for name in NAMES]

    def articulate(self, context: Array) -> Array:
        """Relative log-mel (HISTORY + n + LOOKAHEAD, 24) to articulators (n, 7).

        Row i depends on its own hop, HISTORY before it and LOOKAHEAD after it, on nothing else.
        """
        matrix1, offset1, matrix2, offset2, matrix3, offset3 = self._weights
        flat = np.ascontiguousarray(context, np.float32).reshape(-1)
        rows = sliding_window_view(flat, CONTEXT * BANDS)[::BANDS]
        one = np.maximum(rows @ matrix1 + offset1, np.float32(0))
        two = np.maximum(one @ matrix2 + offset2, np.float32(0))
        shown = 1 / (1 + np.exp(-(two @ matrix3 + offset3)))
        held: Array = np.maximum(shown - REST, np.float32(0)) * np.float32(1 / (1 - REST))
        return held


@cache
def network() -> Network:
    """The one that came with this."""
    return Network()


def write(file: Path, weights: Sequence[Array]) -> None:
    """In half precision, which changes what is shown by less than a thousandth."""
    halves: dict[str, Any] = {
        name: weight.astype(np.float16) for name, weight in zip(NAMES, weights, strict=True)
    }
    np.savez_compressed(file, **halves)
