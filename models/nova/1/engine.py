"""Continuous batching: requests join and leave between the steps of one pipeline."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from .answer import Answer
from .messages import Batch, Begun, Cancel, Fault, Finish, Gain, Inbox, Refusal, Start, Stats
from .sampling import Sampling


class Output(NamedTuple):
    """What a generation has gained; `logprobs` is empty unless the sampling asks for them."""

    tokens: list[int]
    logprobs: list[float]
    finish: Finish | None


class Starved(Exception):
    """The pipeline gave an answer up because its key-value cache is full."""


class Refused(Exception):
    """The pipeline does not take this request; it goes on with the others."""


class Generation(Protocol):
    """One answer that the pipeline is at work on."""

    def read(self) -> Output | None:
        """What came since the last call, None for nothing. Raises Starved."""

    def cancel(self) -> None: ...


class Pipeline(Protocol):
    def add(self, prompt: Sequence[int], sampling: Sampling, seed: int) -> Generation:
        """Raises Refused."""

    def step(self) -> None: ...

    def requests(self) -> int:
        """How many answers it holds, those included that end with the next step."""


class Tokens(Protocol):
    """The model's tokenizer."""

    @property
    def table(self) -> Sequence[bytes]:
        """What each token adds to the text: text.token_bytes."""

    def encode(self, text: str) -> list[int]: ...


@dataclass(frozen=True)
class Limits:
    context: int
    """Tokens of prompt and answer together."""
    max_running: int
    """Answers that generate together."""


@dataclass(frozen=True)
class Running:
    start: Start
    answers: list[tuple[Answer, Generation]]

    @property
    def finished(self) -> bool:
        return all(answer.finish for answer, _ in self.answers)


class Engine:
    """`inbox` brings Start and Cancel, anything else ends the loop. `send` may block: that slows us down."""

    def __init__(
        self,
        pipeline: Pipeline,
        tokens: Tokens,
        limits: Limits,
        inbox: Inbox,
        send: Callable[[Batch], None],
    ) -> None:
        self._pipeline = pipeline
        self._tokens = tokens
        self._limits = limits
        self._longest = max(map(len, tokens.table), default=1)
        self._inbox = inbox
        self._send = send
        self._waiting: deque[Start] = deque()
        self._running: dict[int, Running] = {}
        self._events: list[Begun | Gain | Refusal] = []
        self._generated = self._cancelled = 0
        self._told = Stats()

    def run(self) -> None:
        while self._take_in():
            self._admit()
            self._pipeline.step()
            self._harvest()
            self._tell()

    def _take_in(self) -> bool:
        """Reads what has come; waits where there is nothing else to do. False: it is time to end."""
        idle = not self._waiting and not self._pipeline.requests()
        while idle or not self._inbox.empty():
            idle = False
            message = self._inbox.get()
            if isinstance(message, Start):
                self._waiting.append(message)
            elif isinstance(message, Cancel):
                self._cancel(message.id)
            else:
                return False
        return True

    def _cancel(self, id: int) -> None:  # noqa: A002
        running = self._running.pop(id, None)
        if running:
            for _, generation in running.answers:
                generation.cancel()
        waiting = next((start for start in self._waiting if start.id == id), None)
        if waiting:
            self._waiting.remove(waiting)
        if running or waiting:
            self._cancelled += 1
            self._refuse(id, "cancelled", "Request was cancelled")

    def _admit(self) -> None:
        room = self._limits.max_running - sum(len(running.answers) for running in self._running.values())
        while self._waiting and self._waiting[0].sampling.n <= room:
            start = self._waiting.popleft()
            try:
                self._begin(start)
                room -= start.sampling.n
            except Refused as error:
                self._refuse(start.id, "bad_request", str(error))

    def _begin(self, start: Start) -> None:
        prompt = self._encode(start.prompt)
        room = self._limits.context - len(prompt)
        wanted = start.sampling
        sampling = replace(
            wanted, max_tokens=min(wanted.max_tokens, room), min_tokens=min(wanted.min_tokens, room)
        )
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        answers = [
            (
                Answer(start.id, index, self._tokens.table, sampling),
                self._pipeline.add(prompt, sampling, seed + index),
            )
            for index in range(sampling.n)
        ]
        self._running[start.id] = Running(start, answers)
        self._events.append(Begun(start.id, len(prompt)))

    def _encode(self, text: str) -> list[int]:
        context = self._limits.context
        # To tokenise a text of megabytes only to refuse it would hold up everybody else.
        hopeless = len(text.encode()) > context * self._longest
        prompt = [] if hopeless else self._tokens.encode(text)
        if hopeless or len(prompt) >= context:
            length = f"more than {context}" if hopeless else str(len(prompt))
            raise Refused(f"the prompt has {length} tokens; this model takes {context}, the answer included")
        if not prompt:
            raise Refused("the prompt is empty")
        return prompt

    def _harvest(self) -> None:
        for id_, running in list(self._running.items()):
            try:
                for answer, generation in running.answers:
                    if not answer.finish:
                        self._read(answer, generation)
            except Starved:
                del self._running[id_]
                self._refuse(id_, "unavailable", "the engine's key-value cache is full; try again later")
                continue
            if running.finished:
                del self._running[id_]
            if running.start.stream or running.finished:
                self._events += filter(None, (answer.take() for answer, _ in running.answers))

    def _read(self, answer: Answer, generation: Generation) -> None:
        output = generation.read()
        if output is not None:
            self._generated += len(output.tokens)
            answer.absorb(output.tokens, output.logprobs, output.finish)
            if answer.finish and not output.finish:
                generation.cancel()  # the pipeline does not know our stop strings

    def _refuse(self, id: int, fault: Fault, message: str) -> None:  # noqa: A002
        self._events.append(Refusal(id, fault, message))

    def _tell(self) -> None:
        stats = Stats(self._pipeline.requests(), len(self._waiting), self._generated, self._cancelled)
        if self._events or stats != self._told:
            self._send(Batch(self._events, stats))
            self._events, self._told = [], stats
