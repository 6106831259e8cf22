"""The benchmark itself, with very little to do: each piece, over the real wire."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from shared.errors import PeerError, PeerProtocol, StartupError
from tests.fixtures.nova import NovaService
from tests.fixtures.triton import Triton
from voxloop import bench
from voxloop.bench import nova as nova_bench
from voxloop.bench import plot
from voxloop.bench.nova import Plan
from voxloop.bench.nova_clients import MAX_TOKENS, QUESTIONS, Clients, NovaRest, open_clients
from voxloop.bench.nova_crowd import crowd
from voxloop.bench.nova_load import Load, asks, expected
from voxloop.bench.nova_stack import NovaStack, nova_stack

TINY = Plan(
    concurrency=(1, 2),
    rounds=1,
    answers=2,
    alone=2,
    batch=2,
    cancelled=10,
    cancelled_at_once=2,
    crowd=3,
    waves=2,
)


@pytest.fixture(scope="module")
def stack(triton: Triton, nova: NovaService) -> NovaStack:
    """The session's own engines."""
    return NovaStack(
        triton.grpc,
        triton.metrics,
        nova.http.removeprefix("http://"),
        nova.grpc,
        psutil.Process(nova.process.pid),
        psutil.Process(triton.process.pid),
    )


@pytest.fixture(scope="module")
async def clients(stack: NovaStack) -> AsyncIterator[Clients]:
    async with open_clients(stack) as opened:
        yield opened


@pytest.fixture(scope="module")
async def answers(clients: Clients) -> dict[str, str]:
    return await expected(clients.bare)


async def test_every_client_gets_the_same_answer_to_the_letter(
    clients: Clients, answers: dict[str, str]
) -> None:
    for ask in asks(clients).values():
        streamed = await ask(QUESTIONS[0])
        assert streamed.text == answers[QUESTIONS[0]]
        assert streamed.ttft_s > 0


async def test_every_answer_has_as_many_tokens(clients: Clients, answers: dict[str, str]) -> None:
    assert set(answers) == set(QUESTIONS)
    assert (await clients.bare.counted(QUESTIONS[1]))[1] == MAX_TOKENS


async def test_another_answer_than_the_expected_spoils_the_round(stack: NovaStack, clients: Clients) -> None:
    load = Load(stack, dict.fromkeys(QUESTIONS, "something else"))
    with pytest.RaisesGroup(PeerProtocol):
        await load.round(clients.bare.stream, 1, 1)


async def test_rows_stand_side_by_side_and_the_ratios_name_the_highest_concurrency(
    stack: NovaStack, clients: Clients, answers: dict[str, str]
) -> None:
    rows, figures = await nova_bench.side_by_side(Load(stack, answers), clients, TINY)
    assert len(rows) == len(TINY.concurrency) * len(asks(clients))
    assert all(row["tokens_per_s"] > 0 and row["first_ms_p50"] > 0 for row in rows)
    assert set(figures) == {
        "throughput_ratio_2",
        "stream_ratio_2",
        "stream_sse_ratio_2",
        "added_cpu_us_per_token",
    }


async def test_streams_alone_and_requests_of_many_prompts_are_timed(clients: Clients) -> None:
    figures = await nova_bench.alone(clients, TINY) | await nova_bench.batched(clients, TINY)
    assert {"ttft_added_ms_p50_1", "batch_gain_2"} <= set(figures)


async def test_cancelled_streams_leave_an_idle_engine(stack: NovaStack, clients: Clients) -> None:
    figures = await nova_bench.cancelled(stack, clients.grpc, TINY)
    assert figures["cancelled"] == TINY.cancelled
    await stack.until_idle()


async def test_a_crowd_is_counted_to_the_last_client(stack: NovaStack, clients: Clients) -> None:
    async with crowd(stack.http, TINY.crowd) as people:
        figures = await nova_bench.crowded(stack, people, clients.grpc, TINY)
    became = {what: figures[f"crowd_{what}"] for what in ("answered", "refused", "failed", "hung")}
    assert became == {"answered": TINY.crowd * TINY.waves, "refused": 0, "failed": 0, "hung": 0}
    assert (figures["voice_ttft_ratio"] or 0) > 0


async def test_a_service_that_is_not_there_is_a_failed_client() -> None:
    async with crowd("127.0.0.1:1", 2) as people:
        assert await people.wave() == {"failed": 2}
    with pytest.raises(PeerError):
        await NovaRest("127.0.0.1:1").whole("Hello?")


async def test_it_starts_engines_of_its_own_and_leaves_none() -> None:
    async with nova_stack() as own, open_clients(own) as through:
        assert await through.rest.whole(QUESTIONS[0])
        processes = [own.nova_process, own.triton_process, *own.triton_process.children(recursive=True)]
        assert min(own.memory_mb().values()) > 1
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


def test_the_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [
        {"mode": mode, "side": side, "concurrency": at, "tokens_per_s": at * 10, "first_ms_p50": at}
        for mode, side in (("whole", "bare"), ("stream", "nova"), ("stream", "nova sse"))
        for at in (1, 8)
    ]
    plot.latency_and_throughput(rows, tmp_path / "nova.png")
    assert (tmp_path / "nova.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(StartupError, match="cannot be written"):
        plot.latency_and_throughput(rows, tmp_path / "nowhere" / "nova.png")


def test_without_matplotlib_a_plot_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(StartupError, match="matplotlib"):
        nova_bench.run(tmp_path / "nova.png")


def test_a_benchmark_without_a_picture_says_so(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="no plot"):
        list(bench.run(bench.Benchmark.SPEECH, tmp_path / "speech.png"))
