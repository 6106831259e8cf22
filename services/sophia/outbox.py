"""What waits to be sent to one client.

Producers never wait: audio is paced before it gets here, so the outbox only grows when the client
stops reading. Then face frames go first, oldest first; when that is not enough, the client is lost. So
is one that reads, but too slowly ever to catch up.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from services.sophia.events import Animation, Event, ReplyStarted, TurnMetrics
from services.sophia.metrics import FRAMES_DROPPED
from shared.errors import Overloaded

MAX_EVENTS = 1000
MAX_FRAMES = 300  # 10 s of face
MAX_BEHIND_S = 30.0
"""A client that has not once caught up for this long never will: what it hears is as old."""


class Outbox:
    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._frames = 0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._closed = ""
        self._behind_since: float | None = None

    def put(self, event: Event) -> None:
        """Queue `event`. A client that has not read for far too long is given up: see `get`."""
        if isinstance(event, Animation):
            if self._frames >= MAX_FRAMES:
                self._drop_oldest_frame()
            self._frames += 1
        elif len(self._events) - self._frames >= MAX_EVENTS:
            self.close("the client does not read")
            return
        self._events.append(event)
        self._filled.set()

    def close(self, reason: str) -> None:
        """Send nothing any more."""
        self._closed = reason
        self._filled.set()

    def drop_turn(self, turn: int) -> None:
        """Forget all that waits of a turn that has ended, but for its beginning and its times."""
        kept = [
            event
            for event in self._events
            if isinstance(event, ReplyStarted | TurnMetrics) or getattr(event, "turn", None) != turn
        ]
        self._events = deque(kept)
        self._frames = sum(isinstance(event, Animation) for event in kept)

    async def get(self) -> Event:
        """The next event; raises Overloaded, with the reason, once closed."""
        while not self._events and not self._closed:
            self._filled.clear()
            await self._filled.wait()
        if self._closed:
            raise Overloaded(self._closed)
        event = self._events.popleft()
        if isinstance(event, Animation):
            self._frames -= 1
        if not self._events:
            self._drained.set()
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = time.monotonic()
        elif time.monotonic() - self._behind_since > MAX_BEHIND_S:
            raise Overloaded("the client reads too slowly")
        return event

    async def until_empty(self) -> None:
        """Wait until the last event was taken; used once, to say goodbye."""
        while self._events:
            self._drained.clear()
            await self._drained.wait()

    def _drop_oldest_frame(self) -> None:
        for index, event in enumerate(self._events):
            if isinstance(event, Animation):
                del self._events[index]
                self._frames -= 1
                FRAMES_DROPPED.labels("slow client").inc()
                return
