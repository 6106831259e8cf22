"""The emotions that a face can show, by Audio2Face's own names (beginning_emotion of Audio2Face-3D, A2E of
the classic one)."""

from __future__ import annotations

EMOTIONS = (
    "amazement",
    "anger",
    "cheekiness",
    "disgust",
    "fear",
    "grief",
    "joy",
    "outofbreath",
    "pain",
    "sadness",
)
NEUTRAL = "neutral"
"""Asked for, it ends what was shown before; Audio2Face knows it as no emotion at all."""
