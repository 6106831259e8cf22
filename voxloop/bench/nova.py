"""What nova adds to Triton: the same questions to the same model, with nova between and without.

Everything runs on this machine's cores: engine, server, nova, and who asks. Both sides take turns, so that
each round through nova has a bare one right beside it, and ratios are medians over such pairs.

- `throughput_ratio_64`: tokens/s of whole answers by REST ÷ a bare tritonclient's, 64 at once.
- `stream_ratio_64`: the same token by token, by gRPC; `stream_sse_ratio_64` by server-sent events.
- `added_cpu_us_per_token`: CPU of nova's process for each token of 64 gRPC streams. Its client's share stands
  in the rows, beside that of the bare client.
- `ttft_added_ms_p50_1`: median time to the first text of one gRPC stream, less the bare one's.
- `batch_gain_32`: 32 requests one after the other ÷ one request of 32 prompts, in time.
- `cancel_leak_mb`: what nova, Triton and its engine hold (USS) after so many cancelled streams, less before.
- `crowd_…`: clients that all come at once, each with one question; `hung` are those that neither an answer
  nor a refusal reached. `voice_ttft_ratio`: the voice lane's first text while they are there ÷ without them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import uvloop

from voxloop.bench import plot as plots
from voxloop.bench.nova_clients import QUESTIONS, Clients, NovaGrpc, open_clients
from voxloop.bench.nova_crowd import Crowd, crowd
from voxloop.bench.nova_load import Load, Round, asks, expected, ratio, row
from voxloop.bench.nova_stack import NovaStack, nova_stack
from voxloop.bench.report import Report, Row

Figures = dict[str, float | int | None]

VOICE_GAP_S = 0.02
"""Between two questions of the voice that is measured beside the crowd."""
ALONE_BEFORE_WAVE = 10


@dataclass(frozen=True)
class Plan:
    """How much is measured. The defaults take some five minutes of two cores."""

    concurrency: tuple[int, ...] = (1, 8, 32, 64)
    rounds: int = 5
    answers: int = 128
    """Of a round; at least two for each client."""
    alone: int = 150
    """Streams one at a time, on each side."""
    batch: int = 32
    cancelled: int = 20_000
    cancelled_at_once: int = 32
    crowd: int = 500
    waves: int = 6


def run(plot: Path | None = None, plan: Plan | None = None) -> Report:
    """Raises StartupError for a plot without matplotlib, or engines that do not start."""
    if plot is not None:
        plots.check()
    report = uvloop.run(_run(plan or Plan()))
    if plot is not None:
        plots.latency_and_throughput(report.rows, plot)
    return report


async def _run(plan: Plan) -> Report:
    load_before = os.getloadavg()[0]
    async with (
        nova_stack() as stack,
        crowd(stack.http, plan.crowd) as people,  # before gRPC, which does not like its process to fork
        open_clients(stack) as clients,
    ):
        answers = await expected(clients.bare)
        rows, figures = await side_by_side(Load(stack, answers), clients, plan)
        figures |= await alone(clients, plan)
        figures |= await batched(clients, plan)
        figures |= await cancelled(stack, clients.grpc, plan)
        figures |= await crowded(stack, people, clients.grpc, plan)
    notes = (
        f"rounds side by side: n={plan.rounds}; streams alone: n={plan.alone} a side",
        f"cancelled streams: {plan.cancelled}; waves of {plan.crowd} clients: {plan.waves}",
        f"load of the machine (1 min) before: {load_before:.2f}, after: {os.getloadavg()[0]:.2f}",
    )
    return Report("nova", rows, figures, notes)


async def side_by_side(load: Load, clients: Clients, plan: Plan) -> tuple[list[Row], Figures]:
    """Rows for every concurrency, and the ratios at the highest, which name it."""
    rows: list[Row] = []
    measured: dict[tuple[str, str], list[Round]] = {}
    for concurrency in plan.concurrency:
        each = max(2, plan.answers // concurrency // (4 if concurrency == 1 else 1))
        measured = {key: [] for key in asks(clients)}
        for number in range(plan.rounds + 1):
            for key, ask in asks(clients).items():
                one = await load.round(ask, concurrency, each)
                if number:  # the first warms up
                    measured[key].append(one)
        rows += [row(mode, side, concurrency, rounds) for (mode, side), rounds in measured.items()]
    last = plan.concurrency[-1]
    bare = measured["stream", "bare"]
    return rows, {
        f"throughput_ratio_{last}": ratio(measured["whole", "nova"], measured["whole", "bare"]),
        f"stream_ratio_{last}": ratio(measured["stream", "nova"], bare),
        f"stream_sse_ratio_{last}": ratio(measured["stream", "nova sse"], bare),
        "added_cpu_us_per_token": round(median(one.cpu["nova"] for one in measured["stream", "nova"]), 1),
    }


async def alone(clients: Clients, plan: Plan) -> Figures:
    through: dict[str, list[float]] = {"bare": [], "nova": []}
    for number in range(plan.alone):
        question = QUESTIONS[number % len(QUESTIONS)]
        for name, client in (("bare", clients.bare), ("nova", clients.grpc)):
            through[name].append(1e3 * (await client.stream(question)).ttft_s)
    bare, nova = (median(values) for values in through.values())
    return {
        "ttft_bare_ms_p50_1": round(bare, 2),
        "ttft_nova_ms_p50_1": round(nova, 2),
        "ttft_added_ms_p50_1": round(nova - bare, 2),
    }


async def batched(clients: Clients, plan: Plan) -> Figures:
    questions = [QUESTIONS[number % len(QUESTIONS)] for number in range(plan.batch)]
    gains: list[float] = []
    for _ in range(plan.rounds):
        started = time.perf_counter()
        await clients.rest.batch(questions)
        between = time.perf_counter()
        for question in questions:
            await clients.rest.whole(question)
        gains.append((time.perf_counter() - between) / (between - started))
    return {f"batch_gain_{plan.batch}": round(median(gains), 2)}


async def cancelled(stack: NovaStack, client: NovaGrpc, plan: Plan) -> Figures:
    """Each stream is cancelled after its first text. Raises PeerTimeout if the engine goes on generating."""
    await _cancel(stack, client, plan.cancelled // 10, plan.cancelled_at_once)  # what is kept for the next
    before = stack.memory_mb()
    await _cancel(stack, client, plan.cancelled, plan.cancelled_at_once)
    after = stack.memory_mb()
    leaks = {name: after[name] - before[name] for name in after}
    return {
        "cancelled": plan.cancelled,
        "cancel_leak_mb": round(sum(leaks.values()), 1),
        **{f"cancel_leak_mb_{name}": round(leak, 1) for name, leak in leaks.items()},
    }


async def _cancel(stack: NovaStack, client: NovaGrpc, count: int, at_once: int) -> None:
    async def some(number: int) -> None:
        for at in range(number, count, at_once):
            call = client.call(QUESTIONS[at % len(QUESTIONS)])
            await call.read()
            call.cancel()

    async with asyncio.TaskGroup() as group:
        for number in range(at_once):
            group.create_task(some(number))
    await stack.until_idle()


async def crowded(stack: NovaStack, people: Crowd, voice: NovaGrpc, plan: Plan) -> Figures:
    became: Counter[str] = Counter()
    idle, beside = list[float](), list[float]()
    memory: list[float] = []
    for _ in range(plan.waves):
        for _ in range(ALONE_BEFORE_WAVE):
            idle.append(await _first_ms(voice, len(idle)))
            await asyncio.sleep(VOICE_GAP_S)
        wave = asyncio.create_task(people.wave())
        while not wave.done():
            beside.append(await _first_ms(voice, len(beside)))
            await asyncio.wait([wave], timeout=VOICE_GAP_S)
        became += wave.result()
        await stack.until_idle()
        memory.append(stack.memory_mb()["nova"])
    return {
        **{f"crowd_{what}": became[what] for what in ("answered", "refused", "failed", "hung")},
        "crowd_memory_growth_mb": round(memory[-1] - memory[0], 1),
        "voice_ttft_idle_ms_p50": round(median(idle), 2),
        "voice_ttft_crowd_ms_p50": round(median(beside), 2),
        "voice_ttft_ratio": round(median(beside) / median(idle), 2),
        "voice_answers_beside_crowd": len(beside),
    }


async def _first_ms(voice: NovaGrpc, number: int) -> float:
    return 1e3 * (await voice.stream(QUESTIONS[number % len(QUESTIONS)])).ttft_s
