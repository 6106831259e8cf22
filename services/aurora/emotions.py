"""What callers ask for, as Audio2Face takes it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from services.aurora import metrics
from shared.emotions import EMOTIONS, NEUTRAL

log = logging.getLogger(__name__)

NAMED = 3
"""A caller may send any number of names of any length: a line of the log shows this many, cut."""


def known(values: Mapping[str, float]) -> dict[str, float]:
    """Audio2Face's own emotions, from 0 to 1. What it does not know is named in the log, counted and left
    out, and so is a value that is no number: a wrong emotion costs nothing but itself."""
    wanted = {name.lower(): value for name, value in values.items()}
    wanted.pop(NEUTRAL, None)
    good = {name: value for name, value in wanted.items() if name in EMOTIONS and math.isfinite(value)}
    if passed_over := sorted(wanted.keys() - good.keys()):
        metrics.UNKNOWN_EMOTIONS.inc(len(passed_over))
        shown = ", ".join(repr(name[:20]) for name in passed_over[:NAMED])
        log.warning("passed over unusable emotions: %s; known, from 0 to 1: %s", shown, ", ".join(EMOTIONS))
    return {name: min(1.0, max(0.0, value)) for name, value in good.items()}
