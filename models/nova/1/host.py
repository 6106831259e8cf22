"""Hands Triton's requests to the engine's process, and what it generates to Triton.

A message to Triton costs the processes that handle it some 0.2 ms of CPU, more than a token of a small model.
So one thread sends them, at a pace, and what the engine generates meanwhile leaves with the next one. Under
load messages grow, not queues; first pieces go first.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty
from typing import Protocol

from .child import CLOSE_S, Child, Stalled, Unavailable
from .messages import Batch, Begun, Broken, Cancel, Fault, Gain, Refusal, Start, Stats
from .options import Options
from .sampling import Sampling

PACE_S = 0.001
"""Between messages to Triton. Half of it costs 64 streams a fifth of their tokens and helps nobody."""
POLL_S = 0.04
"""Each request is asked once in this time whether it was cancelled …"""
POLL_GAP_S = 0.002
"""… but no two within this, since asking is a message too."""
REPORT_S = 0.05
"""Metrics are at most this old."""
RETRY_S = 5.0
"""Between attempts to start an engine that does not start."""
STARTS = 3
"""How often an engine that stands still while it loads is started anew, before the model's loading fails."""


class Sink(Protocol):
    """Where a request's results go. What it raises concerns this request alone."""

    def send(self, gains: Sequence[Gain], prompt_tokens: int, *, final: bool) -> None:
        """`gains` has one entry for each answer, also for one without news."""

    def fail(self, fault: Fault, message: str) -> None: ...
    def cancelled(self) -> bool: ...


@dataclass
class Open:
    """A request that the engine has, and what it said of it that is not sent yet."""

    id: int
    sink: Sink
    gains: list[Gain]
    prompt_tokens: int = 0
    refusal: Refusal | None = None
    begun: bool = False
    """Whether anything was sent."""
    cancelled: bool = False

    @property
    def finished(self) -> bool:
        return self.refusal is not None or all(gain.finish for gain in self.gains)

    def add(self, gain: Gain) -> None:
        held = self.gains[gain.answer]
        self.gains[gain.answer] = gain._replace(
            text=held.text + gain.text,
            tokens=held.tokens + gain.tokens,
            logprobs=held.logprobs + gain.logprobs,
        )

    def take(self) -> list[Gain]:
        taken, self.gains = self.gains, [gain._replace(text="", tokens=0, logprobs=[]) for gain in self.gains]
        return taken


@dataclass
class _Clock:
    """When the courier last did what it does now and then."""

    sent: float = 0.0
    polled: float = 0.0
    reported: float = 0.0
    told: Stats = field(default_factory=Stats)


class Host:
    """Raises Unavailable when the engine does not start. `report` publishes figures, `log` takes a line."""

    def __init__(self, options: Options, report: Callable[[Stats], None], log: Callable[[str], None]) -> None:
        self._options = options
        self._report = report
        self._log = log
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        """Guards _open and _down, which Triton's thread and the courier share."""
        self._open: dict[int, Open] = {}
        self._down: str | None = None
        self._first: dict[int, Open] = {}
        """Requests whose first piece is due, …"""
        self._more: dict[int, Open] = {}
        """… and those with any later one."""
        self._clock = _Clock()
        self._stats = Stats()
        self._closing = threading.Event()
        self._child = self._first_child()
        self.context = self._child.context
        self._courier = threading.Thread(target=self._run, name="courier", daemon=True)
        self._courier.start()

    def _first_child(self) -> Child:
        for _ in range(STARTS - 1):
            try:
                return Child(self._options)
            except Stalled as error:
                self._log(f"{error}; starting it again")
        return Child(self._options)

    def submit(self, prompt: str, sampling: Sampling, sink: Sink, *, stream: bool) -> None:
        """Raises Unavailable."""
        with self._lock:
            if self._down:
                raise Unavailable(self._down)
            if len(self._open) >= self._options.max_running + self._options.max_waiting:
                raise Unavailable(f"the engine is full: it has {len(self._open)} requests; try again later")
            id_ = next(self._ids)
            self._open[id_] = Open(
                id_, sink, [Gain(id_, index, "", 0, 0.0, [], None) for index in range(sampling.n)]
            )
            self._child.send(Start(id_, prompt, sampling, stream))

    def close(self) -> None:
        self._closing.set()
        self._child.close()
        self._courier.join(2 * CLOSE_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                message = self._child.inbox.get(timeout=self._patience())
            except Empty:
                pass
            else:
                if not isinstance(message, Batch):
                    self._start_again(message)
                    continue
                self._sort(message)
                if not self._child.inbox.empty():
                    continue
            self._deliver()
            self._poll()
            self._tell()
        self._fail_all("unavailable", "the model is being unloaded")

    def _patience(self) -> float | None:
        """Seconds until there is something to do without the engine's word; None: nothing."""
        if self._first or self._more:
            return max(0.0, self._clock.sent + PACE_S - time.monotonic())
        if self._open:
            return max(POLL_GAP_S, POLL_S / len(self._open))
        return None if self._clock.told == self._stats else REPORT_S

    def _sort(self, batch: Batch) -> None:
        self._stats = batch.stats
        for event in batch.events:
            request = self._open.get(event.id)
            if request is None:
                continue
            if isinstance(event, Begun):
                request.prompt_tokens = event.prompt_tokens
                continue
            if isinstance(event, Gain):
                request.add(event)
            else:
                request.refusal = event
            (self._more if request.begun else self._first)[event.id] = request

    def _deliver(self) -> None:
        """One message to Triton, of the request whose news are the oldest."""
        due = self._first or self._more
        now = time.monotonic()
        if not due or now < self._clock.sent + PACE_S:
            return
        self._clock.sent = now
        request = due.pop(next(iter(due)))
        request.begun = True
        if request.finished:
            with self._lock:
                self._open.pop(request.id, None)
        try:
            if request.refusal:
                request.sink.fail(request.refusal.fault, request.refusal.message)
            else:
                request.sink.send(request.take(), request.prompt_tokens, final=request.finished)
        except Exception as error:  # noqa: BLE001 - this thread serves all the other requests too
            self._log(f"an answer could not be sent: {error}")
            self._cancel(request)

    def _poll(self) -> None:
        """Ask the request that was not asked for the longest whether anybody still waits for it."""
        now = time.monotonic()
        with self._lock:
            if not self._open or now - self._clock.polled < max(POLL_GAP_S, POLL_S / len(self._open)):
                return
            id_ = next(iter(self._open))
            request = self._open[id_] = self._open.pop(id_)  # to the end of the rotation
        self._clock.polled = now
        try:
            gone = not request.cancelled and request.sink.cancelled()
        except Exception as error:  # noqa: BLE001 - as above
            self._log(f"a request could not be asked for: {error}")
            gone = True
        if gone:
            self._cancel(request)

    def _cancel(self, request: Open) -> None:
        request.cancelled = True
        self._child.send(Cancel(request.id))

    def _tell(self) -> None:
        now = time.monotonic()
        if self._clock.told != self._stats and now - self._clock.reported >= REPORT_S:
            self._clock.reported, self._clock.told = now, self._stats
            self._report(self._stats)

    def _start_again(self, message: object) -> None:
        """The engine is gone: its requests fail, and as soon as a new one runs, later ones do not."""
        reason = message.message if isinstance(message, Broken) else self._child.epitaph()
        if self._closing.is_set():
            return
        self._log(f"{reason}; starting it again")
        self._fail_all("internal", reason)
        self._child.close()
        while not self._closing.is_set():
            try:
                self._child = Child(self._options)
            except Unavailable as error:
                self._log(f"the engine does not start: {error}")
                self._closing.wait(RETRY_S)
            else:
                with self._lock:
                    self._down = None
                return

    def _fail_all(self, fault: Fault, reason: str) -> None:
        with self._lock:
            self._down = f"{reason}; try again later"
            requests, self._open = list(self._open.values()), {}
        self._first.clear()
        self._more.clear()
        self._stats = Stats()
        self._report(self._stats)
        for request in requests:
            try:
                request.sink.fail(fault, reason)
            except Exception as error:  # noqa: BLE001 - as above
                self._log(f"an answer could not be sent: {error}")
