"""A viewer of /aurora/frames as docs/aurora.md asks for one: it keeps the frames that come too early, shows
each at its time, and rests when it is told to. The measure of what those who watch see."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOUTH = ("jaw", "mouth", "tongue", "cheekpuff")
SHUT = 0.02
"""Weights of a mouth below this look neutral."""
LATE_S = 1 / 30
"""A frame that comes later than this after its time is not shown."""


@dataclass(frozen=True)
class Shown:
    """A frame was shown: at what second, of what media time."""

    at_s: float
    turn: int
    t_ms: float


@dataclass
class Viewer:
    """Fed with messages in the order in which they came; seconds are of the reader's steady clock."""

    shown: list[Shown] = field(default_factory=list)
    shut: dict[int, float] = field(default_factory=dict)
    """When the mouth was neutral first after the end of each turn."""
    late: int = 0
    _names: tuple[str, ...] = ()
    _mouth: tuple[int, ...] = ()
    _began_s: float | None = None  # when media time 0 was, or None while the sound stands still
    _waiting: deque[tuple[int, float]] = field(default_factory=deque)  # turn, ms
    _ended: int = 0

    def take(self, message: Mapping[str, Any], at_s: float) -> None:
        self._show_until(at_s)
        match message["type"]:
            case "animation.header":
                self._names = tuple(message["names"])
                self._mouth = tuple(i for i, name in enumerate(self._names) if name.lower().startswith(MOUTH))
            case "animation.clock":
                self._began_s = at_s - message["t_ms"] / 1e3 if message["running"] else None
            case "animation":
                self._frame(message["turn"], message["t_ms"], message["in_ms"], at_s)
            case "animation.end":
                self._waiting.clear()
                self._began_s, self._ended = None, message["turn"]
            case "animation.rest":
                mouth = max((message["weights"][i] for i in self._mouth), default=0.0)
                if mouth < SHUT and self._ended:
                    self.shut.setdefault(self._ended, at_s)

    def _frame(self, turn: int, t_ms: float, in_ms: float, at_s: float) -> None:
        """The message that came with the least delay knows best when the sound began."""
        began_s = at_s + (in_ms - t_ms) / 1e3
        if self._began_s is None or began_s < self._began_s:
            self._began_s = began_s
        due_s = self._began_s + t_ms / 1e3
        if due_s > at_s:
            self._waiting.append((turn, t_ms))
        elif at_s - due_s <= LATE_S:
            self.shown.append(Shown(at_s, turn, t_ms))
        else:
            self.late += 1

    def _show_until(self, at_s: float) -> None:
        while self._began_s is not None and self._waiting:
            turn, t_ms = self._waiting[0]
            due_s = self._began_s + t_ms / 1e3
            if due_s > at_s:
                return
            self._waiting.popleft()
            self.shown.append(Shown(due_s, turn, t_ms))
