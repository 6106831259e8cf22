"""What Triton's process and the engine's say to each other, over one socket pair.

The engine has a process of its own because a step of its pipeline holds Python's global lock: in one
process each message to Triton would wait for a step, and each step for the messages. It also means that
an engine that crashes takes neither the server nor the model with it.
"""

from __future__ import annotations

import select
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Literal, NamedTuple, TypeAlias

from .sampling import Sampling

Finish: TypeAlias = Literal["stop", "length"]
Fault: TypeAlias = Literal["bad_request", "cancelled", "unavailable", "internal"]


class Start(NamedTuple):
    """To the engine: a request to generate `sampling.n` answers to a prompt."""

    id: int
    prompt: str
    sampling: Sampling
    stream: bool
    """Say what is new after each step; otherwise only at the end."""


class Cancel(NamedTuple):
    """To the engine: nobody waits for this request any more."""

    id: int


class Begun(NamedTuple):
    """From the engine: the request is at work."""

    id: int
    prompt_tokens: int


class TokenLogprob(NamedTuple):
    token: int
    logprob: float
    """Natural logarithm."""
    text: str


class Gain(NamedTuple):
    """From the engine: what one answer has gained since the last word about it."""

    id: int
    answer: int
    """Which of the request's answers."""
    text: str
    tokens: int
    cumulative_logprob: float
    """Of the whole answer so far; 0 where no log-probabilities were asked for."""
    logprobs: list[TokenLogprob]
    finish: Finish | None


class Refusal(NamedTuple):
    """From the engine: the request is over and this is why."""

    id: int
    fault: Fault
    message: str


class Stats(NamedTuple):
    running: int = 0
    """Answers that the pipeline itself holds."""
    waiting: int = 0
    """Requests that wait for room in it."""
    generated_tokens: int = 0
    cancelled: int = 0
    """Requests that were cancelled, since the engine started."""


class Batch(NamedTuple):
    """From the engine after each step that has news."""

    events: list[Begun | Gain | Refusal]
    stats: Stats


class Ready(NamedTuple):
    """The engine's first word, if the model is good …"""

    context: int
    """Tokens of prompt and answer together."""


class Broken(NamedTuple):
    """… and its last, if it fails."""

    message: str


class Ended(NamedTuple):
    """What is read when the other side is gone."""


class Inbox:
    """What comes to the engine, read by its own thread between two steps.

    A thread beside it would wait for Python's lock, which a step holds, several steps for each message.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)

    def empty(self) -> bool:
        return not self._poll.poll(0)

    def get(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            return Ended()


class Mailbox(SimpleQueue[Any]):
    """What comes from the engine, read without pause, so that two full sockets never wait for each other."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        threading.Thread(target=self._read, name="mailbox", daemon=True).start()

    def _read(self) -> None:
        try:
            while True:
                self.put(self._connection.recv())
        except (EOFError, OSError):
            self.put(Ended())
