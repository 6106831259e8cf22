"""Who may generate now, who waits, and who is told to come back later.

Two lanes: VOICE goes ahead of BATCH and has places of its own, because somebody is listening to the silence.
Each lane's queue is bounded; a request that does not fit is refused whole, at once. Nothing polls: a place
that becomes free is handed to the first in line.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from services.nova import metrics
from shared.errors import InputError, Overloaded


class Lane(enum.Enum):
    VOICE = "voice"
    BATCH = "batch"


class Ticket:
    """A claim to one place, in line from the moment it exists."""

    def __init__(self, line: _Line) -> None:
        self.arrived = time.perf_counter()
        self.line = line
        self.granted = asyncio.Event()

    async def turn(self, deadline_s: float) -> None:
        """Returns when the place is ours; raises Overloaded if that takes too long."""
        try:
            async with asyncio.timeout(deadline_s):
                await self.granted.wait()
        except TimeoutError:
            self.line.rejected("queue deadline")
            raise Overloaded(f"no place became free in {deadline_s:g} s.", hint="Try again later.") from None
        self.line.queue_seconds.observe(time.perf_counter() - self.arrived)


class _Line:
    """One lane: those who wait, in order of arrival, and how many hold a place."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.waiting: OrderedDict[Ticket, None] = OrderedDict()
        self.holding: set[Ticket] = set()
        self.queue_seconds = metrics.QUEUE.labels(lane.value)
        self._in_flight = metrics.IN_FLIGHT.labels(lane.value)
        self._queued = metrics.WAITING.labels(lane.value)

    def rejected(self, reason: str, count: int = 1) -> None:
        metrics.REJECTED.labels(self.lane.value, reason).inc(count)

    def join(self) -> Ticket:
        ticket = Ticket(self)
        self.waiting[ticket] = None
        self._queued.inc()
        return ticket

    def grant_first(self) -> None:
        ticket, _ = self.waiting.popitem(last=False)
        self.holding.add(ticket)
        self._queued.dec()
        self._in_flight.inc()
        ticket.granted.set()

    def leave(self, ticket: Ticket) -> None:
        if ticket in self.holding:
            self.holding.remove(ticket)
            self._in_flight.dec()
        elif ticket in self.waiting:
            del self.waiting[ticket]
            self._queued.dec()


class Admission:
    """`voice_places` of the `places` are kept for VOICE; `queue` bounds those who wait, in each lane."""

    def __init__(self, *, places: int, voice_places: int, queue: int) -> None:
        self._places = places
        self._batch_places = max(1, places - voice_places)
        self._queue = queue
        self._voice, self._batch = _Line(Lane.VOICE), _Line(Lane.BATCH)

    @property
    def in_flight(self) -> int:
        return len(self._voice.holding) + len(self._batch.holding)

    @contextmanager
    def enter(self, lane: Lane, count: int) -> Iterator[Sequence[Ticket]]:
        """Tickets for `count` answers, all or none: raises Overloaded when they would overfill the queue,
        InputError when they would overfill an empty one.

        Each may be given back early with `leave`; the end of the block gives back the rest.
        """
        line = self._voice if lane is Lane.VOICE else self._batch
        most = self._queue + (self._places if lane is Lane.VOICE else self._batch_places)
        if count > most:
            raise InputError(f"{count} answers at once can never be taken in here; at most {most} can")
        free = 0 if line.waiting else self._free(line)
        if len(line.waiting) + max(0, count - free) > self._queue:
            line.rejected("queue full", count)
            raise Overloaded(
                f"{self.in_flight} answers are being generated and {len(line.waiting)} wait;"
                f" there is no room for {count} more.",
                hint="Try again later.",
            )
        tickets = [line.join() for _ in range(count)]
        try:
            self._grant()
            yield tickets
        finally:
            for ticket in tickets:
                ticket.line.leave(ticket)
            self._grant()

    def leave(self, ticket: Ticket) -> None:
        """Give up a place, or the wait for it. Harmless when done already."""
        ticket.line.leave(ticket)
        self._grant()

    def _free(self, line: _Line) -> int:
        free = self._places - self.in_flight
        if line is self._batch:
            free = min(free, self._batch_places - len(self._batch.holding))
        return free

    def _grant(self) -> None:
        for line in (self._voice, self._batch):
            while line.waiting and self._free(line) > 0:
                line.grant_first()
