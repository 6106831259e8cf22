"""One request on its way through the engine: what it wants, what it has got so far, what is still to send."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from .sampling import Sampling
from .text import Detokenizer, Stopper

Finish = Literal["stop", "length"]
Fault = Literal["cancelled", "unavailable", "internal"]


@dataclass
class Piece:
    """What one answer has gained since the last message."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    """Natural logarithms, one for each token; zeros where none were asked for."""
    cumulative_logprob: float = 0.0
    """Of the whole answer so far."""
    finish: Finish | None = None


class Sink(Protocol):
    """Where a job's results go. Called from the courier's thread only; an OSError or RuntimeError means nobody listens."""

    def send(self, pieces: Sequence[Piece], *, final: bool) -> None: ...
    def fail(self, fault: Fault, message: str) -> None: ...
    def cancelled(self) -> bool: ...


class Answer:
    """One of the `n` texts of a job."""

    def __init__(self, table: Sequence[bytes], sampling: Sampling) -> None:
        self.finish: Finish | None = None
        self._detokenizer = Detokenizer(table)
        self._stopper = Stopper(sampling.stop, include=sampling.include_stop_str_in_output)
        self._min_tokens = sampling.min_tokens
        self._count = 0
        self._cumulative = 0.0
        self._piece = Piece()

    def absorb(self, tokens: list[int], logprobs: list[float], finish: Finish | None) -> None:
        """Take what the engine generated; `finish` is its own reason to end, a stop string is ours."""
        if self.finish:
            return
        self._count += len(tokens)
        self._cumulative += sum(logprobs)
        text = self._detokenizer.feed(tokens, last=finish is not None)
        if self._count >= self._min_tokens:
            text = self._stopper.feed(text, last=finish is not None)
        self.finish = "stop" if self._stopper.stopped else finish
        self._piece.text += text
        self._piece.tokens += tokens
        self._piece.logprobs += logprobs

    @property
    def news(self) -> bool:
        """Whether there is something to say: text, or the end."""
        return bool(self._piece.text) or (self.finish is not None and bool(self._piece.tokens))

    def take(self) -> Piece:
        piece, self._piece = self._piece, Piece()
        piece.cumulative_logprob, piece.finish = self._cumulative, self.finish
        return piece


class Job:
    """Filled by the engine's thread, emptied by the courier's; `lock` guards all that both touch."""

    def __init__(
        self, prompt: Sequence[int], sampling: Sampling, table: Sequence[bytes], sink: Sink, *, stream: bool
    ) -> None:
        self.prompt = prompt
        self.sampling = sampling
        self.sink = sink
        self.answers = [Answer(table, sampling) for _ in range(sampling.n)]
        self.cancel_requested = False
        """Set by the courier; the engine drops the job at its next step."""
        self.lock = threading.Lock()
        self.queued = False
        """Whether the courier already knows that there is something to send."""
        self.fault: tuple[Fault, str] | None = None
        self._stream = stream

    @property
    def finished(self) -> bool:
        return self.fault is not None or all(answer.finish for answer in self.answers)

    @property
    def deliverable(self) -> bool:
        """A stream sends whatever is new, any other request everything at its end."""
        return self.finished or (self._stream and any(answer.news for answer in self.answers))
