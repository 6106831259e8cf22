"""The thread that talks to Triton, so that the engine's never waits for it.

Each message to Triton is a round trip between processes. While one is under way the engine goes on; what it
generates meanwhile leaves with the next message. Under load messages therefore grow instead of queues.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from .job import Job

POLL_S = 0.02
"""How soon a cancelled request is noticed: each is asked about once in this time …"""
POLL_GAP_S = 0.001
"""… but no more than one in this time, since asking is a round trip too."""
REPORT_S = 0.05
"""Metrics are at most this old."""


class Courier:
    """`report` publishes the metrics if they changed and says whether they did."""

    def __init__(self, report: Callable[[], None], wake: Callable[[], None]) -> None:
        self._report = report
        self._wake = wake
        self._ready: SimpleQueue[Job | None] = SimpleQueue()
        self._open: dict[Job, None] = {}
        self._reported_at = self._polled_at = 0.0
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    def watch(self, job: Job) -> None:
        """From now on ask whether the job is still wanted."""
        job.queued = True
        self._ready.put(job)

    def notice(self, job: Job) -> None:
        """The job has something to send. Called by the engine with the job's lock held."""
        if not job.queued:
            job.queued = True
            self._ready.put(job)

    def close(self, deadline_s: float) -> None:
        self._ready.put(None)
        self._thread.join(deadline_s)

    def _run(self) -> None:
        idle = False
        while True:
            timeout = None if idle else POLL_GAP_S if self._open else REPORT_S
            try:
                job = self._ready.get(timeout=timeout)
            except Empty:
                pass
            else:
                if job is None:
                    self._report()
                    return
                self._deliver(job)
            now = time.monotonic()
            if self._open and now - self._polled_at >= max(POLL_GAP_S, POLL_S / len(self._open)):
                self._polled_at = now
                self._poll(next(iter(self._open)))
            idle = not self._open and self._ready.empty() and now - self._reported_at >= REPORT_S
            if now - self._reported_at >= REPORT_S:
                self._reported_at = now
                self._report()

    def _deliver(self, job: Job) -> None:
        with job.lock:
            job.queued = False
            fault, finished = job.fault, job.finished
            pieces = [answer.take() for answer in job.answers] if job.deliverable and not fault else []
        if finished:
            self._open.pop(job, None)
        else:
            self._open[job] = None
        try:
            if fault:
                job.sink.fail(*fault)
            elif pieces:
                job.sink.send(pieces, final=finished)
        except (OSError, RuntimeError):
            self._abandon(job)

    def _poll(self, job: Job) -> None:
        del self._open[job]
        self._open[job] = None  # to the end of the rotation
        try:
            gone = job.sink.cancelled()
        except (OSError, RuntimeError):
            gone = True
        if gone:
            self._abandon(job)

    def _abandon(self, job: Job) -> None:
        job.cancel_requested = True
        self._wake()
