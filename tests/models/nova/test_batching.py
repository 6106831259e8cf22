"""Requests join, leave and are cancelled while others generate; Triton's /metrics tell."""

from __future__ import annotations

import asyncio

import httpx
from tritonclient.grpc.aio import InferenceServerClient

from tests.fixtures.triton import MODEL, Triton
from tests.models.nova.wire import DEADLINE_S, HELLO, LONG, eventually, responses, streamed, texts, whole

RUNNING = "voxloop_engine_running"
WAITING = "voxloop_engine_waiting"
CANCELLED = "voxloop_engine_cancelled_total"
TOKENS = "voxloop_engine_generated_tokens_total"


async def idle(triton: Triton) -> None:
    await eventually(lambda: triton.metric(RUNNING) == 0 and triton.metric(WAITING) == 0)


async def test_many_requests_generate_together(triton: Triton, triton_client: InferenceServerClient) -> None:
    await idle(triton)
    before = triton.metric(TOKENS)
    sampling = {"max_tokens": 200, "temperature": 1, "ignore_eos": True}
    async with asyncio.TaskGroup() as group:
        for number in range(32):
            group.create_task(streamed(triton_client, f"{HELLO}{number}", sampling))
        await eventually(lambda: triton.metric(RUNNING) == 32)
    await idle(triton)
    assert triton.metric(TOKENS) - before == 32 * 200


async def test_company_does_not_change_a_seeded_answer(triton_client: InferenceServerClient) -> None:
    sampling = {"max_tokens": 32, "temperature": 1, "ignore_eos": True, "seed": 3}
    alone = await whole(triton_client, HELLO, sampling)
    async with asyncio.TaskGroup() as group:
        together = [group.create_task(whole(triton_client, HELLO, sampling)) for _ in range(8)]
    assert {task.result() for task in together} == {alone}


async def test_those_beyond_the_engines_places_wait_and_are_served(
    triton: Triton, triton_client: InferenceServerClient
) -> None:
    sampling = {"n": 16, "max_tokens": 100, "temperature": 1, "ignore_eos": True}
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(streamed(triton_client, f"{HELLO}{number}", sampling)) for number in range(8)
        ]
        await eventually(lambda: triton.metric(WAITING) == 4)
        assert triton.metric(RUNNING) <= 64
    assert all(task.result() for task in asked)


async def test_a_cancelled_stream_stops_in_the_engine(
    triton: Triton, triton_client: InferenceServerClient
) -> None:
    await idle(triton)
    cancelled, tokens = triton.metric(CANCELLED), triton.metric(TOKENS)
    answers = responses(triton_client, HELLO, LONG)
    assert texts(await anext(answers))
    await answers.aclose()
    await eventually(lambda: triton.metric(CANCELLED) == cancelled + 1)
    await idle(triton)
    assert triton.metric(TOKENS) - tokens < LONG["max_tokens"]


async def test_a_cancelled_task_stops_in_the_engine(
    triton: Triton, triton_client: InferenceServerClient
) -> None:
    await idle(triton)
    cancelled = triton.metric(CANCELLED)
    task = asyncio.create_task(whole(triton_client, HELLO, LONG))
    await eventually(lambda: triton.metric(RUNNING) == 1)
    task.cancel()
    await eventually(lambda: triton.metric(CANCELLED) == cancelled + 1)
    await idle(triton)


async def test_a_closed_http_stream_stops_in_the_engine(triton: Triton) -> None:
    await idle(triton)
    cancelled = triton.metric(CANCELLED)
    body = {"text_input": HELLO, "parameters": LONG | {"stream": True}}
    url = f"{triton.url}/v2/models/{MODEL}/generate_stream"
    async with (
        httpx.AsyncClient(timeout=DEADLINE_S) as client,
        client.stream("POST", url, json=body) as response,
    ):
        await anext(response.aiter_lines())
    await eventually(lambda: triton.metric(CANCELLED) == cancelled + 1)
    await idle(triton)


async def test_a_request_may_be_cancelled_while_it_waits(
    triton: Triton, triton_client: InferenceServerClient
) -> None:
    cancelled = triton.metric(CANCELLED)
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(streamed(triton_client, HELLO, LONG | {"n": 16})) for _ in range(4)]
        await eventually(lambda: triton.metric(RUNNING) == 64)
        waiting = group.create_task(streamed(triton_client, HELLO, LONG))
        await eventually(lambda: triton.metric(WAITING) == 1)
        waiting.cancel()
        await eventually(lambda: triton.metric(WAITING) == 0 and triton.metric(CANCELLED) == cancelled + 1)
        for task in running:
            task.cancel()
    await idle(triton)


async def test_cancelling_one_leaves_the_others_alone(
    triton: Triton, triton_client: InferenceServerClient
) -> None:
    sampling = {"max_tokens": 100, "temperature": 1, "ignore_eos": True, "seed": 5}
    alone = await whole(triton_client, HELLO, sampling)
    async with asyncio.TaskGroup() as group:
        kept = [group.create_task(whole(triton_client, HELLO, sampling)) for _ in range(4)]
        gone = [group.create_task(streamed(triton_client, HELLO, LONG)) for _ in range(4)]
        await eventually(lambda: triton.metric(RUNNING) >= 4)
        for task in gone:
            task.cancel()
    assert {task.result() for task in kept} == {alone}
    await idle(triton)
