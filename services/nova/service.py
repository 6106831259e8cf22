"""nova itself: a place in line, a prompt, an upstream; out come text and how it went."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass

from prometheus_client import Histogram

from services.nova import metrics
from services.nova.admission import Admission, Ticket
from services.nova.circuit import Circuit
from services.nova.contracts import (
    CallDelta,
    Chat,
    Contract,
    Finish,
    FinishReason,
    Message,
    Prompt,
    Sampling,
    Text,
)
from services.nova.settings import NovaSettings
from services.nova.stops import StopFilter
from shared.errors import InputError, PeerProtocol, PeerTimeout, UnknownModel, VoxloopError

MAX_WHOLE_CHARS = 1 << 20
"""Of an answer in one piece, which is held until it is complete."""

Write = Callable[[str | CallDelta], Awaitable[None]]
"""Takes the next part of an answer. While it waits, nothing more is read from upstream."""

_PROBE = Chat((Message("user", "Hi"),)), Sampling(max_tokens=1, temperature=0.0)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a generation ended. Times are ms since the request arrived, the wait for a place included.

    `ttft_ms` is when the first text came to us: with the last, where it was not streamed. Counts of tokens
    are None where the upstream does not tell them.
    """

    finish_reason: FinishReason
    prompt_tokens: int | None
    completion_tokens: int | None
    ttft_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class _Call:
    prompt: Prompt
    sampling: Sampling
    ticket: Ticket
    stream: bool


class Nova:
    def __init__(self, contract: Contract, settings: NovaSettings) -> None:
        self.settings = settings
        self.admission = Admission(
            places=settings.max_in_flight, voice_places=settings.voice_places, queue=settings.max_queue
        )
        self._contract = contract
        self._circuit = Circuit(
            contract.peer, failures=settings.circuit_failures, rest_s=settings.circuit_rest_s
        )
        self._labels = (contract.name, settings.model)
        metrics.CIRCUIT.labels(*self._labels).set_function(lambda: self._circuit.is_open)
        self._first_token = metrics.FIRST_TOKEN.labels(*self._labels)
        self._inter_token = metrics.INTER_TOKEN.labels(*self._labels)

    def check_model(self, name: str | None) -> None:
        known = self.settings.model
        if name and name != known:
            raise UnknownModel(f"there is no model {name[:80]!r} here.", hint=f"Ask for {known!r}.")

    async def stream(self, prompt: Prompt, sampling: Sampling, ticket: Ticket, write: Write) -> Answer:
        """Hand each piece to `write` as it comes. Raises InputError, Overloaded, PeerError."""
        return await self._answer(_Call(prompt, sampling, ticket, stream=True), write)

    async def whole(
        self, prompt: Prompt, sampling: Sampling, ticket: Ticket
    ) -> tuple[str, list[CallDelta], Answer]:
        """The same in one piece, which costs Triton one message instead of one for each token."""
        texts: list[str] = []
        calls: list[CallDelta] = []  # bounded where they are read
        left = MAX_WHOLE_CHARS

        async def keep(part: str | CallDelta) -> None:
            nonlocal left
            if isinstance(part, CallDelta):
                calls.append(part)
                return
            text = part
            left -= len(text)
            if left < 0:
                raise PeerProtocol(
                    self._contract.peer, f"the answer has more than {MAX_WHOLE_CHARS} characters"
                )
            texts.append(text)

        answer = await self._answer(_Call(prompt, sampling, ticket, stream=False), keep)
        return "".join(texts), calls, answer

    @property
    def carries_tools(self) -> bool:
        return self._contract.carries_tools

    async def probe(self) -> None:
        """One real token, past the queue: what readiness means."""
        prompt, sampling = _PROBE
        async with aclosing(self._contract.generate(prompt, sampling, stream=True)) as parts:
            async for _ in parts:
                pass
        self._circuit.succeeded()

    async def _answer(self, call: _Call, write: Write) -> Answer:
        try:
            _check(call.prompt)
            self._check_tools(call.prompt)
            self._circuit.check()
            await call.ticket.turn(self.settings.queue_deadline_s)
            with self._circuit.attempt():
                answer = await self._in_time(call, write)
        except asyncio.CancelledError:
            metrics.CANCELLED.labels(*self._labels).inc()
            raise
        except VoxloopError as error:
            metrics.FAILED.labels(*self._labels, error.code).inc()
            raise
        finally:
            self.admission.leave(call.ticket)
        metrics.ANSWER.labels(*self._labels, answer.finish_reason).observe(answer.total_ms / 1e3)
        return answer

    def _check_tools(self, prompt: Prompt) -> None:
        if isinstance(prompt, Chat) and prompt.uses_tools and not self._contract.carries_tools:
            raise InputError(
                f"tools: NOVA_CONTRACT={self._contract.name} takes and gives text alone, and carries none.",
                hint="Reach the model by NOVA_CONTRACT=openai: vllm serve, a NIM, Triton's OpenAI frontend.",
            )

    async def _in_time(self, call: _Call, write: Write) -> Answer:
        limit_s = self.settings.request_deadline_s
        try:
            async with asyncio.timeout(limit_s):
                return await self._generate(call, write)
        except TimeoutError:
            raise PeerTimeout(self._contract.peer, f"the answer was not complete in {limit_s:g} s") from None

    async def _generate(self, call: _Call, write: Write) -> Answer:
        stops = StopFilter(call.sampling.stop)
        pace = _Pace(call.ticket.arrived, self._first_token if call.stream else None, self._inter_token)
        finish = Finish("stop")
        try:
            generation = self._contract.generate(call.prompt, call.sampling, stream=call.stream)
            async with aclosing(generation) as parts:
                async for part in parts:
                    if isinstance(part, Finish):
                        finish = part
                    elif stops.hit:  # and the engine did not notice
                        break
                    elif isinstance(part, CallDelta):
                        self._arrived(pace, 0)
                        if text := stops.flush():  # which comes before the call
                            await write(text)
                        await write(part)
                    else:
                        self._arrived(pace, part.tokens)
                        if text := stops.feed(part.text):
                            await write(text)
        finally:
            tokens = finish.completion_tokens or pace.tokens
            metrics.TOKENS.labels(*self._labels, "completion").inc(tokens)
            metrics.TOKENS.labels(*self._labels, "prompt").inc(finish.prompt_tokens or 0)
        if text := stops.flush():
            await write(text)
        total_s = time.perf_counter() - call.ticket.arrived
        return Answer(
            "stop" if stops.hit else finish.reason,
            finish.prompt_tokens,
            tokens or None,
            (pace.first_s or total_s) * 1e3,
            total_s * 1e3,
        )

    def _arrived(self, pace: _Pace, tokens: int) -> None:
        if pace.first_s is None:
            self._circuit.succeeded()
        pace.tick(tokens)


class _Pace:
    """Counts tokens and times pieces; `first` is None where the answer comes in one."""

    __slots__ = ("_first", "_inter", "_last", "_started", "first_s", "tokens")

    def __init__(self, started: float, first: Histogram | None, inter: Histogram) -> None:
        self.tokens = 0
        self.first_s: float | None = None
        self._started = self._last = started
        self._first = first
        self._inter = inter

    def tick(self, tokens: int) -> None:
        now = time.perf_counter()
        self.tokens += tokens
        if self.first_s is not None:
            self._inter.observe(now - self._last)
        else:
            self.first_s = now - self._started
            if self._first is not None:
                self._first.observe(self.first_s)
        self._last = now


def _check(prompt: Prompt) -> None:
    """Here, and not at the edge, so that one bad prompt of a batch fails alone."""
    texts = [prompt.text] if isinstance(prompt, Text) else [message.content for message in prompt.messages]
    if not texts[-1].strip() and not (isinstance(prompt, Chat) and prompt.messages[-1].role == "tool"):
        raise InputError("the prompt is empty")
    if isinstance(prompt, Chat) and prompt.uses_tools:
        texts.append(json.dumps(asdict(prompt.tools), ensure_ascii=False) if prompt.tools else "")
        texts += [call.name + call.arguments for message in prompt.messages for call in message.calls]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:  # JSON can say "\ud800", which no UTF-8 can
        raise InputError("the prompt holds half a surrogate pair, which is no Unicode text") from None
