"""An utterance whose final never comes is ended by its quiet: hosted models exist that never send one."""

from __future__ import annotations

import math
from dataclasses import replace

from services.sophia.hearing import Heard


class QuietGap:
    """Times are s on the caller's clock."""

    def __init__(self, gap_ms: float) -> None:
        """`gap_ms` of quiet end an utterance; with 0, none is ever ended so."""
        self.interim: Heard | None = None
        """The newest that has no final yet."""
        self.after_ms = math.inf
        """How much quiet there must be in the microphone's audio before `final` has anything to say."""
        self._gap_ms = gap_ms
        self._since = 0.0  # the interim says what it says

    def note(self, heard: Heard, now: float) -> None:
        if heard.is_final:
            self.forget()
        elif heard.text and self._gap_ms:
            if self.interim is None or self.interim.text != heard.text:
                self._since, self.after_ms = now, self._gap_ms
            self.interim = heard

    def forget(self) -> None:
        self.interim, self.after_ms = None, math.inf

    def final(self, quiet_ms: float, now: float) -> Heard | None:
        """The interim as the final that Riva owes. None where it is too early for that: audio may come faster
        than it was spoken, and then Riva has yet to hear what was quiet here."""
        since_ms = (now - self._since) * 1e3
        if since_ms < self._gap_ms:
            self.after_ms = quiet_ms + self._gap_ms - since_ms
            return None
        return self.interim and replace(self.interim, is_final=True)
