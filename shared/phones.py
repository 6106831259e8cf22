"""Times of phones and words between peers: what NVIDIA's protocols have no field for, and who may be sent it.

A peer that knows of them says so in its initial metadata; to any other nothing is sent, and of any other
nothing is believed, so that NVIDIA's own servers are spoken to as ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

TOLD = ("voxloop-phones", "told-in-ms")
"""Of a Riva: `meta.processed_text` holds the phones of the sound, apart by blanks, and
`meta.predicted_durations` how long each of them lasts, in ms. NVIDIA documents neither tokens nor unit."""
TAKEN = ("voxloop-phones", "taken")
"""Of an Audio2Face: it reads voxloop.face.v1 (proto/face/v1/face.proto)."""
PAUSE = "_"
"""The phone that is none."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Sounds from `start_s` to `end_s`, in s from the first sample."""

    start_s: float
    end_s: float
    label: str


class Phone(Mark):
    """Its label is IPA as espeak-ng writes it, or ARPAbet; PAUSE, "" and the like are pauses."""

    __slots__ = ()


class Word(Mark):
    """Its label is how it is spelled."""

    __slots__ = ()


def said(fact: tuple[str, str], metadata: Iterable[tuple[str, str | bytes]] | None) -> bool:
    """Whether a peer's initial metadata hold TOLD or TAKEN."""
    return any((key, value) == fact for key, value in metadata or ())
