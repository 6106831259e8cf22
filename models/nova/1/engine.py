"""Continuous batching: requests join and leave between the steps of one pipeline, in one thread."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .courier import Courier
from .job import Fault, Finish, Job
from .sampling import Sampling

CLOSE_S = 2.0
"""How long the threads may take to end."""


class Full(Exception):
    """No room for another request; the message says how many there are."""


class Down(Exception):
    """The engine cannot generate any more; the message says why."""


@dataclass(frozen=True)
class Output:
    tokens: list[int]
    logprobs: list[float]
    finish: Finish | None


class Starved(Exception):
    """The pipeline gave up on this answer because its key-value cache is full."""


class Generation(Protocol):
    """One answer that the pipeline is at work on."""

    def read(self) -> Output | None:
        """What came since the last call, None for nothing. Raises Starved."""

    def cancel(self) -> None: ...


class Pipeline(Protocol):
    """What really generates. Not thread-safe: the engine's thread alone calls it."""

    def add(self, prompt: Sequence[int], sampling: Sampling, seed: int) -> Generation: ...
    def step(self) -> None: ...

    def requests(self) -> int:
        """How many answers it holds."""


@dataclass(frozen=True)
class Stats:
    running: int
    """Answers that the pipeline itself holds."""
    waiting: int
    generated_tokens: int
    cancelled: int


@dataclass
class _Running:
    job: Job
    generations: list[Generation]


class Engine:
    """`open_pipeline` is called again after a pipeline failed: its requests fail, later ones do not."""

    def __init__(
        self,
        open_pipeline: Callable[[], Pipeline],
        report: Callable[[Stats], None],
        *,
        max_running: int,
        max_waiting: int,
    ) -> None:
        self._open_pipeline = open_pipeline
        self._pipeline = open_pipeline()
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._work = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: list[_Running] = []
        self._requests = self._tokens = self._cancelled = 0
        self._down: str | None = None
        self._closing = False
        self._courier = Courier(lambda: report(self.stats()), self._wake)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Raises Full, or Down."""
        with self._work:
            if self._down or self._closing:
                raise Down(self._down or "the model is being unloaded")
            if len(self._waiting) >= self._max_waiting:
                raise Full(
                    f"the engine is full: {len(self._running)} requests run, {len(self._waiting)} wait"
                )
            self._courier.watch(job)
            self._waiting.append(job)
            self._work.notify()

    def stats(self) -> Stats:
        return Stats(self._requests, len(self._waiting), self._tokens, self._cancelled)

    def close(self) -> None:
        """Ends both threads; requests that are still open fail."""
        with self._work:
            self._closing = True
            self._work.notify()
        self._thread.join(CLOSE_S)
        self._courier.close(CLOSE_S)

    def _wake(self) -> None:
        with self._work:
            self._work.notify()

    def _run(self) -> None:
        while self._wait_for_work():
            try:
                self._drop_cancelled()
                self._admit()
                self._pipeline.step()
                self._harvest()
                self._requests = self._pipeline.requests()
            except Exception as error:  # noqa: BLE001 - whatever it raises must reach the callers, not end this thread
                self._recover(error)
        self._fail_all("unavailable", "the model was unloaded")

    def _wait_for_work(self) -> bool:
        with self._work:
            while not (self._closing or self._waiting or self._running or self._requests):
                self._work.wait()
            return not self._closing

    def _drop_cancelled(self) -> None:
        for entry in [entry for entry in self._running if entry.job.cancel_requested]:
            for generation in entry.generations:
                generation.cancel()
            self._running.remove(entry)
            self._count_cancelled(entry.job)
        with self._work:
            gone = [job for job in self._waiting if job.cancel_requested]
            for job in gone:
                self._waiting.remove(job)
        for job in gone:
            self._count_cancelled(job)

    def _count_cancelled(self, job: Job) -> None:
        self._cancelled += 1
        self._fail(job, "cancelled", "the request was cancelled")

    def _admit(self) -> None:
        free = self._max_running - sum(len(entry.generations) for entry in self._running)
        while free > 0:
            with self._work:
                if not self._waiting or self._waiting[0].sampling.n > max(free, 1):
                    return
                job = self._waiting.popleft()
            entry = _Running(job, [])
            self._running.append(entry)
            seed = secrets.randbits(63) if job.sampling.seed is None else job.sampling.seed
            for index in range(job.sampling.n):
                entry.generations.append(self._pipeline.add(job.prompt, job.sampling, seed + index))
            free -= job.sampling.n

    def _harvest(self) -> None:
        still: list[_Running] = []
        for entry in self._running:
            try:
                self._read(entry)
            except Starved:
                self._fail(entry.job, "unavailable", "the engine's key-value cache is full; ask again later")
            if not entry.job.finished:
                still.append(entry)
        self._running = still

    def _read(self, entry: _Running) -> None:
        job = entry.job
        with job.lock:
            for answer, generation in zip(job.answers, entry.generations, strict=True):
                if answer.finish:
                    continue
                output = generation.read()
                if output is None:
                    continue
                self._tokens += len(output.tokens)
                answer.absorb(output.tokens, output.logprobs, output.finish)
                if answer.finish and not output.finish:
                    generation.cancel()  # a stop string: the pipeline does not know that it is done
            if job.deliverable:
                self._courier.notice(job)

    def _fail(self, job: Job, fault: Fault, message: str) -> None:
        with job.lock:
            job.fault = (fault, message)
            self._courier.notice(job)

    def _fail_all(self, fault: Fault, message: str) -> None:
        with self._work:
            jobs = [entry.job for entry in self._running] + list(self._waiting)
            self._running = []
            self._waiting.clear()
            self._requests = 0
        for job in jobs:
            self._fail(job, fault, message)

    def _recover(self, error: Exception) -> None:
        """The requests of a pipeline that failed fail with it; the next ones get a new one."""
        reason = f"the engine failed ({type(error).__name__}: {error})"
        for entry in self._running:
            self._fail(entry.job, "internal", reason)
        self._running, self._requests = [], 0
        try:
            self._pipeline = self._open_pipeline()
        except Exception as again:  # noqa: BLE001 - as above: a model that does not load is reported in-band
            with self._work:
                self._down = f"the engine failed and did not start again ({type(again).__name__}: {again})"
            self._fail_all("unavailable", self._down)
