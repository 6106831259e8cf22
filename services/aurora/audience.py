"""All who are there for one turn: its viewers, and the recording where there is one."""

from __future__ import annotations

from services.aurora.recorder import TurnRecording
from services.aurora.track import FPS
from services.aurora.viewers import TurnView


class Audience:
    def __init__(self, view: TurnView, recording: TurnRecording | None) -> None:
        self._view = view
        self._recording = recording

    def heard(self) -> None:
        self._view.heard()

    def sound(self, pcm: bytes) -> None:
        if self._recording:
            self._recording.sound(pcm)

    def header(self, names: tuple[str, ...]) -> None:
        self._view.header(names)
        if self._recording:
            self._recording.header(names, FPS)

    def frame(self, t_ms: float, weights: tuple[float, ...]) -> None:
        self._view.frame(t_ms, weights)
        if self._recording:
            self._recording.frame(t_ms / 1000, weights)
