"""Hush first, decide then: what speech over a reply does to it.

A reply is held at once when somebody speaks over it. What is heard then says whether it was meant, and
what has said so by no time was not; docs/architecture.md has the whole table.
"""

from __future__ import annotations

import math
from collections import deque
from enum import StrEnum

from services.sophia.backchannel import is_backchannel
from services.sophia.hearing import Heard
from services.sophia.murmur import is_murmur
from services.sophia.settings import SophiaSettings
from services.sophia.words import words
from shared.audio import duration_s

RECENT_S = 2.0
"""Sound over a reply is kept for so long: Riva's final of a murmur comes up to a second behind it."""


class Outcome(StrEnum):
    """What speech over a reply was."""

    WORDS = "words"
    LONG_SPEECH = "long speech"
    BACKCHANNEL = "backchannel"
    NOISE = "noise"


class Hush:
    """Of one session. It holds nothing itself: it is told what is heard, and answers what that was once it is
    decided. WORDS and LONG_SPEECH end the reply, the others let it go on. Times are s on the caller's clock.
    """

    def __init__(self, settings: SophiaSettings) -> None:
        self.paused = False
        """Whether the reply is held."""
        self._settings = settings
        self._until = math.inf  # the reply is held no longer
        self._doubted: list[str] = []  # the words of the newest interim over a reply
        self._recent: deque[bytes] = deque()
        self._recent_s = 0.0
        self._quiet_s = 0.0  # since then
        self._onset = b""

    def listen(self, pcm: bytes, *, quiet: bool = False) -> None:
        """What the microphone hears while a reply sounds: PCM16 mono at 16 kHz. Of what is `quiet` only its
        length counts, and the last piece before a sound, which begins in it: a session in which nobody speaks
        keeps no more."""
        if quiet:
            self._quiet_s += duration_s(pcm)
            self._onset = pcm
            if self._quiet_s > RECENT_S:
                self._clear()
            return
        self._quiet_s = 0.0
        self._recent += (self._onset, pcm)
        self._recent_s += duration_s(self._onset) + duration_s(pcm)
        self._onset = b""
        while self._recent_s > RECENT_S:
            self._recent_s -= duration_s(self._recent.popleft())

    def speech_began(self, now: float, *, over_reply: bool) -> float:
        """When it is decided at the latest; inf where there is no reply that it would hold."""
        self._doubted = []
        if over_reply and not self.paused:
            # Long enough for lasting speech to show itself. Neither one cough after another nor a
            # microphone that falls silent in the middle of a word may hold a reply for ever.
            settings = self._settings
            longest_ms = 2 * (settings.interrupt_after_ms + settings.resume_after_ms)
            self.paused, self._until = True, now + longest_ms / 1e3
        return self._until

    def speech_stopped(self, now: float) -> float:
        """When it is decided at the latest: words that have not come by then were none."""
        return min(now + self._settings.resume_after_ms / 1e3, self._until)

    def speech_lasts(self, voiced_ms: float) -> Outcome | None:
        """What held the reply, of which so much was heard by now; None while that is open."""
        if voiced_ms >= self._settings.interrupt_after_ms:
            return Outcome.LONG_SPEECH
        if self._doubted and voiced_ms >= self._settings.word_ms and not self._is_murmur():
            return Outcome.WORDS
        return None

    def heard(self, heard: Heard, speech_ms: float, language: str) -> Outcome | None:
        """What these words over a reply are, of speech that lasted `speech_ms`; None while that is open."""
        outcome = self._judged(heard, speech_ms, language)
        if heard.is_final:
            self._clear()  # what sounds from now on is another utterance
        return outcome

    def _judged(self, heard: Heard, speech_ms: float, language: str) -> Outcome | None:
        if is_backchannel(heard.text, language):
            return Outcome.BACKCHANNEL if heard.is_final else None
        if self._is_doubtful(heard, speech_ms):
            return Outcome.NOISE if heard.is_final else None
        if speech_ms < self._settings.interrupt_after_ms and self._is_murmur():
            return Outcome.BACKCHANNEL if heard.is_final else None
        return Outcome.WORDS

    def _is_murmur(self) -> bool:
        """And then no words of it are waited for: that it lasts makes it none."""
        if self._settings.word_ms and is_murmur(b"".join(self._recent)):
            self._doubted = []
            return True
        return False

    def _is_doubtful(self, heard: Heard, speech_ms: float) -> bool:
        """What may be a cough or a murmur: the shorter the speech, the surer Riva has to be of its words. An
        interim waits for the next one, for the final, or for the speech to last; a final without a confidence
        (0) is believed."""
        settings, said, doubted = self._settings, words(heard.text), self._doubted
        self._doubted = [] if heard.is_final else said
        shortness = 1 - min(1.0, speech_ms / settings.word_ms) if settings.word_ms else 0.0
        if heard.is_final:
            return 0 < heard.confidence < settings.sure_confidence * shortness
        return heard.confidence < settings.sure_stability * shortness and said != doubted

    def over(self) -> None:
        """The reply goes on, or has ended."""
        self.paused, self._until = False, math.inf

    def forget(self) -> None:
        """Another begins, and what was heard over this one is nobody's concern any more."""
        self.over()
        self._clear()

    def _clear(self) -> None:
        self._recent.clear()
        self._recent_s = 0.0
