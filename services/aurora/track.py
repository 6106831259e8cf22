"""The frames of one turn on their way to the caller, held until the mouth's ending can still be eased."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from services.aurora.audio2face import Frame

FPS = 30
EASE_S = 0.12
"""A frame waits until this much sound lies beyond it; the ending then has that long to close the mouth."""
STALL_S = 0.1
"""When no sound comes for this long the waiting frames go out: the listener hears them already."""

MOUTH = ("jaw", "mouth", "tongue", "cheekpuff")
"""How the names of what closes begin, in the spelling of any face."""


class Track:
    """Bounded by sound: `room` waits while more than `ahead_s` of it has no frame taken yet."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        self._frames: deque[tuple[int, Frame]] = deque()
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._heard_s = 0.0
        self._stalled = False
        self._closed = False
        self._last: int | None = None  # number of the turn's last frame, once its sound has ended
        self._put = self._sent = -1  # numbers of the newest frames that came in and went out
        self._free_s = 0.0  # time of the newest frame that went out before the end was known
        self._mouth: frozenset[int] = frozenset()

    def named(self, names: Sequence[str]) -> None:
        self._mouth = frozenset(i for i, name in enumerate(names) if name.lower().startswith(MOUTH))

    def heard(self, until_s: float) -> None:
        """The turn's sound is known up to this media time."""
        self._heard_s = until_s
        self._stalled = False
        self._changed.set()

    def end(self) -> None:
        """What was heard is all: 30 frames for each second of it, and one at least if there was any."""
        frames = max(1, int(self._heard_s * FPS + 0.5)) if self._heard_s else 0
        self._last = frames - 1
        while self._frames and self._frames[-1][0] > self._last:
            self._frames.pop()
        self._changed.set()

    def close(self) -> None:
        """No more frames are put."""
        self._closed = True
        self._changed.set()

    @property
    def missing(self) -> int:
        """How many frames the sound has that were not put; asked after `take` has returned None."""
        return 0 if self._last is None else self._last - self._sent

    async def room(self) -> None:
        while self._heard_s - (self._sent + 1) / FPS > self._ahead_s:
            self._taken.clear()
            await self._taken.wait()

    def put(self, frame: Frame) -> None:
        """Passes over frames of a faster face than ours, and of the silence after the turn's own sound."""
        number = round(frame.t_s * FPS)
        if number > self._put and (self._last is None or number <= self._last):
            self._put = number
            self._frames.append((number, frame))
            self._changed.set()

    async def take(self) -> Frame | None:
        """The next frame that may go out; None after the last."""
        while not self._frames or not self._may_go(self._frames[0][1]):
            if self._closed and not self._frames:
                return None
            await self._change()
        number, frame = self._frames.popleft()
        self._sent = number
        self._taken.set()
        if self._last is None:
            self._free_s = frame.t_s
            return frame
        return self._eased(frame, self._last / FPS)

    def _may_go(self, frame: Frame) -> bool:
        return self._last is not None or self._stalled or frame.t_s + EASE_S <= self._heard_s

    def _eased(self, frame: Frame, end_s: float) -> Frame:
        """Towards a neutral mouth, which the last frame has; continuous with what went out before the end."""
        span_s = min(EASE_S, end_s - self._free_s)
        left = min(1.0, (end_s - frame.t_s) / span_s) if span_s > 0 else 0.0
        if left == 1.0:
            return frame
        share = max(0.0, left * left * (3 - 2 * left))
        weights = (w * share if i in self._mouth else w for i, w in enumerate(frame.weights))
        return Frame(frame.t_s, tuple(weights))

    async def _change(self) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(STALL_S if self._frames else None):
                await self._changed.wait()
        except TimeoutError:
            self._stalled = True
