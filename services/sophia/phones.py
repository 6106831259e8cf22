"""Phone times of one clause, from what a Riva that knows them sends with each piece of its sound."""

from __future__ import annotations

from riva.client.proto import riva_tts_pb2 as tts

from services.sophia.metrics import PHONES_IGNORED
from shared.phones import Phone

MAX_S = 600.0
"""No clause is longer, so no phone of one lies behind it."""


class PhoneTimes:
    """`told`: the server says that it tells them (shared/phones.py); of another one nothing is read.

    Phones follow each other without a gap from the first sample on, so one whose length is none makes
    nonsense of all that follow: they are dropped and counted, and the face goes by the sound.
    """

    def __init__(self, *, told: bool) -> None:
        self._told = told
        self._end_s = 0.0

    def feed(self, meta: tts.SynthesizeSpeechResponseMetadata) -> tuple[Phone, ...]:
        """In s from the first sample of the clause."""
        labels, durations_ms = meta.processed_text.split(), meta.predicted_durations
        if not self._told:
            return ()
        phones: list[Phone] = []
        for label, duration_ms in zip(labels, durations_ms, strict=False):
            end_s = self._end_s + duration_ms / 1e3
            if not self._end_s <= end_s <= MAX_S:
                break
            phones.append(Phone(self._end_s, end_s, label))
            self._end_s = end_s
        if ignored := max(len(labels), len(durations_ms)) - len(phones):
            PHONES_IGNORED.inc(ignored)
            self._told = False
        return tuple(phones)
