"""Voice activity, and what it means for the turn: speech began, speech ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.sophia.detection import Detector
from shared.silero import WINDOW_MS

QUIET_AFTER_MS = 300.0
QUIET_PROBABILITY = 0.1


@dataclass(frozen=True, slots=True)
class VadSettings:
    start_threshold: float = 0.5
    stop_threshold: float = 0.35
    start_ms: float = 96.0
    """This much speech in a row begins it."""
    stop_ms: float = 300.0
    """This much quiet in a row ends it."""


class Vad:
    """The state of one audio stream at 16 kHz. `speaking` and `speech_ms` describe the newest window."""

    def __init__(
        self, settings: VadSettings, detector: Detector, on_window: Callable[[bytes, bool | None], None]
    ) -> None:
        """`on_window` is told each window once it is judged: its PCM, and True where speech began with it,
        False where it ended."""
        self._settings = settings
        self._on_window = on_window
        self._listener = detector.open(self._judged)
        self._loud_ms = 0.0
        self._probability = 0.0
        self.speaking = False
        self.speech_ms = 0.0
        """How long the present speech has lasted."""
        self.newest_ms = 0.0
        """How long the newest speech lasted, or has so far, without the quiet behind it."""
        self.quiet_ms = 0.0
        """How much audio has come since the last window that was speech."""
        self._goes_on = False  # speech that had its end, and has not paused since
        self._listener.drowsy = self._idle

    @property
    def voiced_ms(self) -> float:
        """How long the present speech has lasted, without the quiet behind it; 0 where there is none."""
        return self.speech_ms - self.quiet_ms if self.speaking else 0.0

    def feed(self, pcm: bytes) -> None:
        """The newest window is judged within detection.WAIT_S; those before it are when this returns."""
        self._listener.feed(pcm)

    def forget(self) -> None:
        """Of what was fed and is not judged yet, nothing is told."""
        self._listener.forget()

    def _judged(self, window: bytes, probability: float) -> None:
        change = self._step(probability)
        self._listener.drowsy = self._idle
        self._on_window(window, change)

    @property
    def quiet(self) -> bool:
        """Nothing like speech has come for a while, the newest window included."""
        return self._idle and self._probability < QUIET_PROBABILITY and self.quiet_ms >= QUIET_AFTER_MS

    @property
    def _idle(self) -> bool:
        return not self.speaking and not self._loud_ms

    def end_speech(self) -> bool:
        """Riva has heard the end of the utterance: what comes now is new speech. Whether there was any.

        What sounds on without a pause is not new: it is music, or a room full of people.
        """
        self._goes_on = self.speaking and not self.quiet_ms
        was_speaking, self.speaking, self._loud_ms = self.speaking, False, 0.0
        return was_speaking

    def _step(self, probability: float) -> bool | None:
        self._probability = probability
        if probability >= self._settings.start_threshold:
            self.quiet_ms = 0.0
        elif probability < self._settings.stop_threshold or self.quiet_ms:
            self.quiet_ms += WINDOW_MS
        if not self.speaking:
            self._goes_on = self._goes_on and self.quiet_ms < self._settings.stop_ms
            is_loud = probability >= self._settings.start_threshold and not self._goes_on
            self._loud_ms = self._loud_ms + WINDOW_MS if is_loud else 0.0
            if self._loud_ms < self._settings.start_ms:
                return None
            self.speaking, self.speech_ms = True, self._loud_ms
            self.newest_ms = self.speech_ms
            return True
        self.speech_ms += WINDOW_MS
        self.newest_ms = max(self.newest_ms, self.voiced_ms)
        if self.quiet_ms < self._settings.stop_ms:
            return None
        self.speaking, self._loud_ms = False, 0.0
        return False
