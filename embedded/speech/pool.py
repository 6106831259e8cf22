"""The recognition workers and who uses them. A worker serves one utterance at a time, so that many
quiet streams share few of them; one that dies is replaced and costs its own utterance only."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import suppress

from pydantic import ValidationError

from embedded.speech.frames import Frame, FrameError, FrameReader, Kind
from embedded.speech.results import OPTIONS, RESULT, Options, Result
from shared.errors import Overloaded, PeerTimeout, PeerUnavailable, StartupError, VoxloopError

log = logging.getLogger(__name__)

PEER = "recogniser"
START_DEADLINE_S = 60.0
WRITE_DEADLINE_S = FINAL_DEADLINE_S = 30.0
END_DEADLINE_S = 2.0
RESTART_PAUSE_S = 0.5
READ = 1 << 16


class Utterance:
    """One utterance in a worker's hands.

    Its answers are a mailbox and not a queue: a newer partial replaces an unread one, so a reader that
    is slow misses steps and never the final.
    """

    def __init__(self, number: int, worker: Worker) -> None:
        self.number = number
        self._worker = worker
        self._news = asyncio.Event()
        self._partial: tuple[Kind, Result] | None = None
        self._final: Result | VoxloopError | None = None
        self._closed = False

    async def feed(self, pcm: bytes) -> None:
        await self._send(Kind.AUDIO, pcm)

    async def pause(self) -> None:
        await self._send(Kind.PAUSE)

    async def resume(self) -> None:
        await self._send(Kind.RESUME)

    async def close(self) -> None:
        self._closed = True
        await self._send(Kind.CLOSE)

    def drop(self) -> None:
        """Nobody waits for it any more: the worker is free for others at once."""
        if self._final is None:
            self._worker.post(Frame(Kind.DROP, self.number))
            self._worker.release(self)

    async def results(self) -> AsyncIterator[tuple[Kind, Result]]:
        """PARTIAL and GUESS as they come, then one FINAL. Raises PeerUnavailable if the worker dies."""
        while True:
            await self._wait()
            partial, self._partial = self._partial, None
            if partial is not None:
                yield partial
            if isinstance(self._final, VoxloopError):
                raise self._final
            if self._final is not None:
                yield Kind.FINAL, self._final
                return

    def deliver(self, frame: Frame) -> None:
        result = RESULT.validate_json(frame.body)
        if frame.kind is Kind.FINAL:
            self._final = result
            self._worker.release(self)
        else:
            self._partial = frame.kind, result
        self._news.set()

    def fail(self, error: VoxloopError) -> None:
        self._final = self._final or error
        self._news.set()

    async def _wait(self) -> None:
        while not self._news.is_set():
            # Before CLOSE silence is normal: the speaker may pause. After it the worker owes an answer.
            was_closed = self._closed
            try:
                async with asyncio.timeout(FINAL_DEADLINE_S):
                    await self._news.wait()
            except TimeoutError:
                if was_closed:
                    self._worker.kill()
                    raise PeerTimeout(PEER, f"no final within {FINAL_DEADLINE_S:g} s") from None
        self._news.clear()

    async def _send(self, kind: Kind, body: bytes = b"") -> None:
        if self._final is None:
            await self._worker.send(Frame(kind, self.number, body))


class Worker:
    """One child process and the utterance that it serves."""

    def __init__(self, pool: Pool, process: Process, stdin: StreamWriter, stdout: StreamReader) -> None:
        self._pool = pool
        self._process = process
        self._stdin = stdin
        self._stdout = stdout
        self._utterance: Utterance | None = None
        self.ready = asyncio.Event()

    @property
    def pid(self) -> int:
        return self._process.pid

    def open(self, number: int, options: Options) -> Utterance:
        self._utterance = Utterance(number, self)
        self.post(Frame(Kind.OPEN, number, OPTIONS.dump_json(options)))
        return self._utterance

    async def send(self, frame: Frame) -> None:
        """Waits while the pipe is full, which is while the worker is busy with a careful pass."""
        self.post(frame)
        try:
            async with asyncio.timeout(WRITE_DEADLINE_S):
                await self._stdin.drain()
        except TimeoutError:
            self.kill()
        except ConnectionError:
            pass  # it died; `listen` sees that and fails the utterance

    def post(self, frame: Frame) -> None:
        if not self._stdin.is_closing():
            self._stdin.write(frame.pack())

    def release(self, utterance: Utterance) -> None:
        if self._utterance is utterance:
            self._utterance = None
            self._pool.give_back(self)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def listen(self) -> None:
        """Hand out the answers until the process ends."""
        reader = FrameReader()
        try:
            while data := await self._stdout.read(READ):
                for frame in reader.feed(data):
                    self._receive(frame)
        except (FrameError, ValidationError):
            log.exception("recognition worker %d answered nonsense", self.pid)
            self.kill()
        status = await self._process.wait()
        if self._utterance is not None:
            self._utterance.fail(
                PeerUnavailable(PEER, f"its process ended (status {status}).", hint="Send the audio again.")
            )
            self._utterance = None

    def _receive(self, frame: Frame) -> None:
        if frame.kind is Kind.READY:
            self.ready.set()
        elif self._utterance is not None and frame.utterance == self._utterance.number:
            self._utterance.deliver(frame)

    async def end(self) -> None:
        self._stdin.close()
        try:
            async with asyncio.timeout(END_DEADLINE_S):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()


class Pool:
    """`size` workers, kept alive. Bounded twice: by its workers and by how long one waits for them."""

    def __init__(self, size: int, wait_s: float) -> None:
        self._size = size
        self._wait_s = wait_s
        self._workers: set[Worker] = set()
        self._idle: set[Worker] = set()
        self._some_idle = asyncio.Event()
        self._numbers = itertools.count(1)
        self._keepers: list[asyncio.Task[None]] = []

    @property
    def pids(self) -> list[int]:
        return [worker.pid for worker in self._workers]

    async def start(self) -> None:
        """Returns when every worker has loaded its models."""
        ready = [asyncio.get_running_loop().create_future() for _ in range(self._size)]
        self._keepers = [asyncio.create_task(self._keep(future)) for future in ready]
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                await asyncio.gather(*ready)
        except TimeoutError:
            raise StartupError(
                f"the recognition workers were not ready within {START_DEADLINE_S:g} s."
            ) from None

    async def stop(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def open(self, options: Options) -> Utterance:
        """A worker for a new utterance; Overloaded where none gets free in time."""
        try:
            async with asyncio.timeout(self._wait_s):
                while not self._idle:
                    self._some_idle.clear()
                    await self._some_idle.wait()
        except TimeoutError:
            raise Overloaded(
                f"all {self._size} recognition workers are busy.",
                hint="Try again later, or raise VOXLOOP_SPEECH_WORKERS.",
            ) from None
        return self._idle.pop().open(next(self._numbers), options)

    def give_back(self, worker: Worker) -> None:
        if worker in self._workers:
            self._idle.add(worker)
            self._some_idle.set()

    async def _keep(self, ready: asyncio.Future[None]) -> None:
        """One worker after the other, for ever. Fails only if the first never gets ready."""
        while True:
            worker = await self._spawn()
            self._workers.add(worker)
            try:
                async with asyncio.TaskGroup() as group:
                    announcing = group.create_task(self._announce(worker, ready))
                    await worker.listen()
                    announcing.cancel()
            finally:
                self._workers.discard(worker)
                self._idle.discard(worker)
                await worker.end()
            if not ready.done():
                ready.set_exception(StartupError("a recognition worker ended while it loaded its models."))
                return
            log.warning("a recognition worker (pid %d) ended and is replaced", worker.pid)
            await asyncio.sleep(RESTART_PAUSE_S)

    async def _announce(self, worker: Worker, ready: asyncio.Future[None]) -> None:
        await worker.ready.wait()
        self.give_back(worker)
        if not ready.done():
            ready.set_result(None)

    async def _spawn(self) -> Worker:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "embedded.speech.worker", stdin=PIPE, stdout=PIPE
        )
        if process.stdin is None or process.stdout is None:  # which PIPE rules out
            raise StartupError("a recognition worker has no pipes.")
        return Worker(self, process, process.stdin, process.stdout)
