"""What those who watch see of one session: the frames of its turn when their sound is due, and between the
replies a face at rest.

A turn's frames come as fast as Audio2Face makes them, so its call may have ended long before they are due;
the stage goes on, and an interruption still reaches it. It is one timer, and no task.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from services.aurora import metrics
from services.aurora.clock import SoundClock
from services.aurora.idle import idle
from services.aurora.track import EASE_S, FPS, MOUTH

MAX_FRAMES = 60 * FPS
"""Frames of a turn that wait for their sound; those beyond are dropped and counted."""
FRAME_MS = 1000 / FPS
"""A frame whose sound was heard longer ago than this is dropped and counted."""
HOLD_MS = 150.0
"""A frame without a successor is shown this long, then the face comes to rest."""
EXPRESSION_EASE_S = 0.5
"""How long eyes, brows and cheeks take back to rest; the mouth takes EASE_S."""
REST_S = 600.0
"""After this long without a turn a session's face is let go."""

Tell = Callable[..., None]
"""`tell(type, **fields)`: a message to whoever watches the session."""


class Part:
    """One turn on the stage."""

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.clock = SoundClock()
        self.waiting: deque[tuple[float, array[float]]] = deque()  # ms, weights
        self.sent: deque[tuple[float, array[float]]] = deque()  # the one that is heard now, and those ahead
        self.closed = False

    def forget_heard(self, heard_ms: float) -> None:
        """Keep the frame whose sound is heard now, and those ahead of it."""
        while len(self.sent) > 1 and self.sent[1][0] <= heard_ms:
            self.sent.popleft()


class Stage:
    """`watched` says whether anybody would see it. `leave` is called when it has nothing to show any more.

    All of a turn is ignored once the stage belongs to another. Used on the event loop alone.
    """

    def __init__(
        self, tell: Tell, watched: Callable[[], bool], leave: Callable[[], None], buffer_ms: float
    ) -> None:
        self._tell = tell
        self._watched = watched
        self._leave = leave
        self._buffer_ms = buffer_ms
        self._part: Part | None = None
        self._awaited: tuple[int, float, bool] | None = None  # a position that came before its turn
        self._names: tuple[str, ...] = ()
        self._ease_s: tuple[float, ...] = ()
        self._turn = 0  # the newest
        self._resting: tuple[float, Sequence[float]] | None = None  # since when (s), and from which weights
        self._shown: list[float] = []  # the rest that was told last
        self._timer: asyncio.TimerHandle | None = None

    @property
    def rests(self) -> bool:
        return self._part is None

    def begin(self, turn: int) -> Part:
        """What is left of an earlier turn is not shown."""
        self._interrupt(self._part)
        part = Part(turn)
        if self._awaited is not None and self._awaited[0] == turn:
            part.clock.follow(*self._awaited[1:])
        self._part, self._turn, self._awaited = part, turn, None
        return part

    def header(self, part: Part, names: tuple[str, ...]) -> None:
        if part is self._part:
            if names != self._names:
                self._names, self._resting = names, (time.monotonic(), [0.0] * len(names))
                self._ease_s = tuple(
                    EASE_S if name.lower().startswith(MOUTH) else EXPRESSION_EASE_S for name in names
                )
            self.greet(self._tell)
            self.wake()

    def greet(self, tell: Tell) -> None:
        """What one who comes now must know first."""
        if self._names:
            tell("animation.header", turn=self._turn, names=self._names, fps=FPS)
            if self._part is not None:
                self._tell_clock(self._part, tell)

    def heard(self, part: Part) -> None:
        """Its first sound is there."""
        if part is self._part and part.clock.begin():
            self._moved(part)

    def frame(self, part: Part, t_ms: float, weights: Iterable[float]) -> None:
        if part is self._part:
            if len(part.waiting) >= MAX_FRAMES:
                metrics.STAGE_DROPS.labels("full").inc()
                return
            part.waiting.append((t_ms, array("f", weights)))
            if len(part.waiting) == 1:
                self.wake()

    def close(self, part: Part) -> None:
        """No more frames come; those that wait are still shown."""
        part.closed = True
        if part is self._part:
            self.wake()

    def interrupt(self, part: Part) -> None:
        """Not a frame of it follows."""
        if part is self._part:
            self._interrupt(part)
            self.wake()

    def follow(self, turn: int, played_ms: float, paused: bool) -> None:
        """Where the sound of the turn is now."""
        part = self._part
        if part is not None and part.turn == turn:
            part.clock.follow(played_ms, paused)
            self._moved(part)
        elif turn > self._turn:
            self._awaited = (turn, played_ms, paused)

    def interrupt_turn(self, turn: int) -> None:
        if self._part is not None and self._part.turn == turn:
            self.interrupt(self._part)
        elif self._awaited is not None and self._awaited[0] == turn:
            self._awaited = None

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wake(self) -> None:
        """Shows what is due, and comes back when the next thing is; also when somebody comes to watch."""
        self.stop()
        delay_s = self._perform()
        if delay_s is None:
            self._leave()
        else:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self.wake)

    def _moved(self, part: Part) -> None:
        if self._names:
            self._tell_clock(part, self._tell)
        self.wake()

    def _tell_clock(self, part: Part, tell: Tell) -> None:
        t_ms = round(part.clock.heard_ms(), 1)
        tell("animation.clock", turn=part.turn, t_ms=t_ms, running=part.clock.runs)

    def _perform(self) -> float | None:
        """Seconds until there is something to show again; None if nothing will be."""
        part, next_s = self._part, 1 / FPS
        if part is not None and part.clock.runs:
            next_s = self._show(part)
        if self._part is None or self._is_still(self._part):
            return self._rest()
        self._resting = None
        return next_s

    def _show(self, part: Part) -> float:
        """The frames that are due. Seconds until the next one is."""
        heard_ms = part.clock.heard_ms()
        while part.waiting and part.waiting[0][0] - self._buffer_ms <= heard_ms:
            t_ms, weights = part.waiting.popleft()
            late_ms = heard_ms - t_ms
            if late_ms > FRAME_MS:
                metrics.STAGE_DROPS.labels("late").inc()
                continue
            metrics.SKEW.observe(max(0.0, late_ms) / 1e3)
            part.sent.append((t_ms, weights))
            if self._watched():
                shown = [round(weight, 4) for weight in weights]
                self._tell(
                    "animation",
                    turn=part.turn,
                    t_ms=round(t_ms, 3),
                    in_ms=round(-late_ms, 1),
                    weights=shown,
                )
        part.forget_heard(heard_ms)
        if part.waiting:
            return (part.waiting[0][0] - self._buffer_ms - heard_ms) / 1e3
        if part.closed and (not part.sent or heard_ms >= part.sent[-1][0] + FRAME_MS):
            self._end(part)
        return 1 / FPS

    def _is_still(self, part: Part) -> bool:
        """Whether nothing of the turn moves the face now."""
        if not part.clock.runs or not part.sent:
            return True
        return part.clock.heard_ms() > part.sent[-1][0] + HOLD_MS

    def _interrupt(self, part: Part | None) -> None:
        if part is not None:
            metrics.STAGE_DROPS.labels("interrupted").inc(len(part.waiting))
            self._end(part)

    def _end(self, part: Part) -> None:
        if self._names:
            self._begin_rest(part)
            self._tell("animation.end", turn=part.turn)
        self._part = None

    def _begin_rest(self, part: Part | None) -> tuple[float, Sequence[float]]:
        """From the frame that is heard now, which is not the newest that was sent."""
        if self._resting is None:
            weights: Sequence[float] = [0.0] * len(self._names)
            if part is not None and part.sent:
                part.forget_heard(part.clock.heard_ms())
                weights = part.sent[0][1]
            self._resting = time.monotonic(), weights
        return self._resting

    def _rest(self) -> float | None:
        since_s, start = self._begin_rest(self._part)
        passed_s = time.monotonic() - since_s
        if self._part is None and (passed_s > REST_S or not self._watched()):
            return None
        if self._names and self._watched():
            alive = idle(passed_s)
            weights = [
                round(max(alive.get(name, 0.0), weight * _left(passed_s / ease_s)), 4)
                for name, weight, ease_s in zip(self._names, start, self._ease_s, strict=True)
            ]
            if weights != self._shown:
                self._shown = weights
                self._tell("animation.rest", turn=self._turn, weights=weights)
        left_s = EASE_S - passed_s
        return min(1 / FPS, left_s + 1e-3) if left_s > 0 else 1 / FPS  # the mouth is shut in time


def _left(passed: float) -> float:
    """What is left of a weight, 1 to 0, while it eases out; `passed` of its time, from 0 on."""
    rest = max(0.0, 1 - passed)
    return rest * rest * (3 - 2 * rest)
