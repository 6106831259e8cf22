"""The same questions through one client and then the other, again and again: ratios of what came out."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from shared.errors import PeerProtocol
from voxloop.bench.nova_clients import MAX_TOKENS, QUESTIONS, Bare, Clients, Streamed
from voxloop.bench.nova_stack import NovaStack
from voxloop.bench.report import Row

Ask = Callable[[str], Awaitable[Streamed]]
"""Asks one question, takes the answer."""


@dataclass(frozen=True)
class Round:
    """One client, so many at once, for a few answers each. CPU in µs for each token."""

    tokens_per_s: float
    ttft_ms: tuple[float, ...]
    cpu: Mapping[str, float]


def asks(clients: Clients) -> dict[tuple[str, str], Ask]:
    """By mode and side. Whole answers have no first token: their whole time stands for it."""
    return {
        ("whole", "bare"): _timed(clients.bare.whole),
        ("whole", "nova"): _timed(clients.rest.whole),
        ("stream", "bare"): clients.bare.stream,
        ("stream", "nova"): clients.grpc.stream,
        ("stream", "nova sse"): clients.rest.stream,
    }


def _timed(whole: Callable[[str], Awaitable[str]]) -> Ask:
    async def ask(question: str) -> Streamed:
        started = time.perf_counter()
        text = await whole(question)
        return Streamed(text, time.perf_counter() - started)

    return ask


async def expected(bare: Bare) -> dict[str, str]:
    """What the engine says to each question; raises PeerProtocol if an answer is shorter than the others."""
    answers: dict[str, str] = {}
    for question in QUESTIONS:
        answers[question], tokens = await bare.counted(question)
        if tokens != MAX_TOKENS:
            raise PeerProtocol("triton", f"{question!r} has {tokens} tokens and not {MAX_TOKENS}")
    return answers


class Load:
    def __init__(self, stack: NovaStack, answers: Mapping[str, str]) -> None:
        self._stack = stack
        self._answers = answers

    async def round(self, ask: Ask, concurrency: int, each: int) -> Round:
        """`concurrency` clients ask `each` questions, each one after the other."""
        questions = itertools.cycle(QUESTIONS)
        ttfts: list[float] = []

        async def client() -> None:
            for _ in range(each):
                question = next(questions)
                streamed = await ask(question)
                if streamed.text != self._answers[question]:
                    raise PeerProtocol("nova", f"another answer to {question!r}: {streamed.text!r}")
                ttfts.append(1e3 * streamed.ttft_s)

        before, started = self._cpu_s(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(client())
        wall_s = time.perf_counter() - started
        tokens = concurrency * each * MAX_TOKENS
        cpu = {name: 1e6 * (after - before[name]) / tokens for name, after in self._cpu_s().items()}
        return Round(tokens / wall_s, tuple(ttfts), cpu)

    def _cpu_s(self) -> dict[str, float]:
        return {"client": time.process_time(), **self._stack.cpu_s()}


def row(mode: str, side: str, concurrency: int, rounds: Sequence[Round]) -> Row:
    ttfts = [value for one in rounds for value in one.ttft_ms]
    return {
        "mode": mode,
        "side": side,
        "concurrency": concurrency,
        "tokens_per_s": round(median(one.tokens_per_s for one in rounds)),
        "first_ms_p50": round(median(ttfts), 2),
        **{
            f"cpu_us_{name}": round(median(one.cpu[name] for one in rounds), 1)
            for name in ("client", "nova", "triton")
        },
        "rounds": len(rounds),
        "answers": len(ttfts),
    }


def ratio(over: Sequence[Round], under: Sequence[Round]) -> float:
    """Median over the rounds: each was measured right beside its other, so the machine's moods cancel out."""
    pairs = zip(over, under, strict=True)
    return round(median(one.tokens_per_s / other.tokens_per_s for one, other in pairs), 3)
