"""nova as a whole: with the real model, and when Triton dies."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import ROOT
from tests.fixtures.launch import launched
from tests.fixtures.nova import OBEDIENT, NovaService, nova_service, obedient_triton_server, settled
from tests.fixtures.triton import Triton, triton_server
from tests.services.nova.openai_endpoint import serving
from tests.services.nova.sse import events, texts

PATIENT = {
    "NOVA_FIRST_TOKEN_DEADLINE_S": "1",
    "NOVA_REQUEST_DEADLINE_S": "5",
    "NOVA_CIRCUIT_FAILURES": "1",
    "NOVA_CIRCUIT_REST_S": "60",
}
"""Deadlines that a test can await, and a circuit that only a probe closes within a test."""

QUESTIONS = ["What is the capital of France?", "How many legs has a spider?", "What is two plus three?"]


async def whole(nova: NovaService, **body: Any) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=nova.http, timeout=30) as client:
        response = await client.post("/nova/generate", json=body)
        assert response.status_code == 200, response.text
        answer: list[dict[str, Any]] = response.json()["outputs"]
        return answer


async def streamed(nova: NovaService, **body: Any) -> list[Any]:
    async with (
        httpx.AsyncClient(base_url=nova.http, timeout=30) as client,
        client.stream("POST", "/nova/generate", json={**body, "stream": True}) as response,
    ):
        return await events(response)


async def test_streaming_says_the_same_as_not_streaming(nova: NovaService) -> None:
    body = {"prompt": QUESTIONS, "max_tokens": 24, "temperature": 0}
    outputs = await whole(nova, **body)
    parsed = (await streamed(nova, **body))[:-1]
    closings = {event["index"]: event for event in parsed if "finish_reason" in event}
    assert texts(parsed) == {output["index"]: output["text"] for output in outputs if output["text"]}
    for output in outputs:
        closing = closings[output["index"]]
        assert closing["finish_reason"] == output["finish_reason"]
        assert closing["usage"] == output["usage"]
        assert output["usage"]["prompt_tokens"] > 0
        assert 0 < output["usage"]["completion_tokens"] <= 24


async def test_a_batch_says_the_same_as_its_prompts_alone(nova: NovaService) -> None:
    together = await whole(nova, prompt=QUESTIONS, max_tokens=24)
    alone = [(await whole(nova, prompt=question, max_tokens=24))[0]["text"] for question in QUESTIONS]
    assert [output["text"] for output in together] == alone


async def test_a_bare_prompt_is_one_users_message(nova: NovaService) -> None:
    (bare,) = await whole(nova, prompt=QUESTIONS[0], max_tokens=24)
    (message,) = await whole(nova, messages=[{"role": "user", "content": QUESTIONS[0]}], max_tokens=24)
    assert bare["text"] == message["text"]
    assert bare["usage"] == message["usage"]


async def test_a_seed_makes_chance_repeatable(nova: NovaService) -> None:
    body = {"prompt": QUESTIONS[0], "max_tokens": 16, "temperature": 1.5, "seed": 7}
    assert (await whole(nova, **body))[0]["text"] == (await whole(nova, **body))[0]["text"]


async def test_a_prompt_beyond_the_models_context_is_the_callers_fault(nova: NovaService) -> None:
    async with httpx.AsyncClient(base_url=nova.http, timeout=30) as client:
        response = await client.post("/nova/generate", json={"prompt": "spider " * 50_000})
    assert response.status_code == 400
    assert response.json()["code"] == "bad_request"


async def test_a_client_that_goes_away_frees_the_engine(nova: NovaService, triton: Triton) -> None:
    cancelled = triton.metric("voxloop_engine_cancelled_total")
    body = {"prompt": [f"Count from {n}" for n in range(8)], "raw": True, "max_tokens": 2000, "stream": True}
    async with (
        httpx.AsyncClient(base_url=nova.http, timeout=30) as client,
        client.stream("POST", "/nova/generate", json=body) as response,
    ):
        await anext(response.aiter_lines())
    await settled(triton)
    async with asyncio.timeout(30):
        while triton.metric("voxloop_engine_cancelled_total") == cancelled:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert nova.metric("voxloop_nova_in_flight") == 0


async def test_it_says_how_it_is_and_what_it_offers(obedient_nova: NovaService) -> None:
    async with httpx.AsyncClient(base_url=obedient_nova.http) as client:
        assert (await client.get("/healthz")).json() == {"status": "alive"}
        ready = (await client.get("/readyz")).json()
        assert ready["status"] == "ready"
        assert ready["dependencies"]["triton"]["ok"]
        assert "/nova/generate" in (await client.get("/openapi.json")).json()["paths"]
    async with grpc.aio.insecure_channel(obedient_nova.grpc) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[no-untyped-call]
        answer = await check(health_pb2.HealthCheckRequest(service="voxloop.nova.v1.Nova"), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_it_measures_what_triton_cannot(obedient_nova: NovaService) -> None:
    def figures() -> list[float]:
        labels = {"contract": "vllm", "model": "nova"}
        return [
            obedient_nova.metric("voxloop_nova_time_to_first_token_seconds_count", **labels),
            obedient_nova.metric("voxloop_nova_inter_token_seconds_count", **labels),
            obedient_nova.metric("voxloop_nova_tokens_total", kind="completion", **labels),
            obedient_nova.metric("voxloop_nova_tokens_total", kind="prompt", **labels),
            obedient_nova.metric("voxloop_nova_answer_seconds_count", finish_reason="stop", **labels),
            obedient_nova.metric("voxloop_nova_failed_total", code="bad_request", **labels),
            obedient_nova.metric("voxloop_nova_queue_seconds_count", lane="batch"),
        ]

    before = figures()
    await streamed(obedient_nova, prompt=["say a|b|c", "long"])
    after = figures()
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 2, 3, 2, 1, 1, 2]


async def test_tensorrt_llm_and_openai_upstreams_are_a_setting_away(
    obedient_triton: Triton, tmp_path: Path
) -> None:
    async with serving() as (url, _):
        upstreams = [
            {"NOVA_CONTRACT": "trtllm", "NOVA_MODEL": "tensorrt_llm"},
            {"NOVA_CONTRACT": "openai", "NOVA_MODEL": "llama", "NOVA_OPENAI_URL": url},
        ]
        for env in upstreams:
            # Not awaited as ready: the endpoint answers on this test's loop, which that would block.
            with nova_service(tmp_path, obedient_triton.grpc, env, await_ready=False) as nova:
                (output,) = await whole(nova, prompt="say a|b")
                parsed = await streamed(nova, prompt="say a|b")
                assert (output["text"], output["finish_reason"]) == ("ab", "stop")
                assert texts(parsed[:-1]) == {0: "ab"}
                async with httpx.AsyncClient(base_url=nova.http) as client:
                    assert (await client.get("/readyz")).json()["status"] == "ready"


async def test_with_keys_nobody_generates_without_one(obedient_triton: Triton, tmp_path: Path) -> None:
    with nova_service(tmp_path, obedient_triton.grpc, {"NOVA_API_KEYS": "sesame"}) as nova:
        async with httpx.AsyncClient(base_url=nova.http) as client:
            body = {"prompt": "say open"}
            assert (await client.post("/nova/generate", json=body)).status_code == 401
            openais = await client.get("/v1/models")
            assert (openais.status_code, openais.json()["error"]["code"]) == (401, "unauthorized")
            assert openais.headers["www-authenticate"] == "Bearer"
            response = await client.post(
                "/nova/generate", json=body, headers={"authorization": "Bearer sesame"}
            )
            assert response.json()["outputs"][0]["text"] == "open"


async def test_when_triton_dies_the_answer_ends_in_a_retryable_error_and_the_next_works_once_it_is_back(
    tmp_path: Path,
) -> None:
    with obedient_triton_server(tmp_path) as triton, nova_service(tmp_path, triton.grpc) as nova:
        async with httpx.AsyncClient(base_url=nova.http, timeout=20) as client:
            body = {"prompt": "forever", "stream": True}
            async with client.stream("POST", "/nova/generate", json=body) as response:
                lines = response.aiter_lines()
                await anext(lines)
                triton.process.kill()
                rest = [line async for line in lines if line]
            assert '"finish_reason":"error"' in rest[-2]
            assert '"retryable":true' in rest[-2]
            assert rest[-1] == "data: [DONE]"

            refused = await client.post("/nova/generate", json={"prompt": "say a"})
            assert (refused.status_code, refused.json()["code"]) == (503, "peer_unavailable")
            assert refused.headers["retry-after"]
            await until_ready_is(client, 503)

            again = OBEDIENT | {
                f"VOXLOOP_TRITON_{name.upper()}_PORT": getattr(triton, name).rpartition(":")[2]
                for name in ("http", "grpc", "metrics")
            }

            def answers() -> bool:
                return httpx.post(f"{nova.http}/nova/generate", json={"prompt": "say a"}).is_success

            with launched("embedded.triton", again, answers, tmp_path / "again.log"):
                await until_ready_is(client, 200)


async def test_a_model_whose_process_died_is_noticed_and_loaded_again(tmp_path: Path) -> None:
    with obedient_triton_server(tmp_path) as triton, nova_service(tmp_path, triton.grpc) as nova:
        async with httpx.AsyncClient(base_url=nova.http, timeout=20) as client:
            died = await client.post("/nova/generate", json={"prompt": "die"})
            assert (died.status_code, died.json()["retryable"]) == (503, True)
            async with asyncio.timeout(20):
                while not (
                    response := await client.post("/nova/generate", json={"prompt": "say a"})
                ).is_success:
                    assert response.json()["retryable"], response.text
                    await asyncio.sleep(0.1)
    assert "model nova is loaded again" in nova.log.read_text()


async def test_a_model_that_cannot_be_loaded_again_is_tried_until_it_can(tmp_path: Path) -> None:
    model, elsewhere = tmp_path / "model.gguf", tmp_path / "elsewhere.gguf"
    shutil.copy(ROOT / "models" / "nova" / "1" / "nova-mini.gguf", model)
    env = {"VOXLOOP_MODEL": str(model)}
    with triton_server(tmp_path, env) as triton, nova_service(tmp_path, triton.grpc) as nova:
        async with httpx.AsyncClient(base_url=nova.http, timeout=20) as client:
            model.rename(elsewhere)
            for process in triton.stubs:
                if process.name().startswith("triton_python"):
                    process.kill()
            async with asyncio.timeout(60):
                while "could not be loaded again" not in nova.log.read_text():
                    failed = await client.post("/nova/generate", json={"prompt": "hello"})
                    assert (failed.status_code, failed.json()["retryable"]) == (503, True)
                    await asyncio.sleep(0.1)
                elsewhere.rename(model)
                await until_ready_is(client, 200)
            assert (await client.post("/nova/generate", json={"prompt": "hello"})).is_success


async def test_a_hung_triton_is_reported_left_alone_and_survived(tmp_path: Path) -> None:
    with obedient_triton_server(tmp_path) as triton, nova_service(tmp_path, triton.grpc, PATIENT) as nova:
        async with httpx.AsyncClient(base_url=nova.http, timeout=20) as client:
            assert (await client.post("/nova/generate", json={"prompt": "say a"})).is_success
            triton.process.send_signal(signal.SIGSTOP)
            try:
                silent = await client.post("/nova/generate", json={"prompt": "say a"})
                assert (silent.status_code, silent.json()["code"]) == (504, "peer_timeout")
                await until_ready_is(client, 503)
                spared = await client.post("/nova/generate", json={"prompt": "say a"})
                assert (spared.status_code, spared.json()["code"]) == (503, "peer_unavailable")
                assert "in a row" in spared.json()["detail"]
                assert nova.metric("voxloop_nova_circuit_open") == 1
            finally:
                triton.process.send_signal(signal.SIGCONT)
            await until_ready_is(client, 200)
            assert nova.metric("voxloop_nova_circuit_open") == 0
            assert (await client.post("/nova/generate", json={"prompt": "say a"})).is_success
            await settled(triton)


async def until_ready_is(client: httpx.AsyncClient, status: int) -> None:
    """/readyz shares a result for a second."""
    async with asyncio.timeout(20):
        while (await client.get("/readyz")).status_code != status:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_without_triton_it_lives_and_says_what_is_missing(tmp_path: Path) -> None:
    with nova_service(tmp_path, "127.0.0.1:1", await_ready=False) as nova:
        async with httpx.AsyncClient(base_url=nova.http, timeout=20) as client:
            ready = await client.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["dependencies"]["triton"]["code"] == "peer_unavailable"
            response = await client.post("/nova/generate", json={"prompt": ["a", "b"]})
            assert (response.status_code, response.json()["retryable"]) == (503, True)


@pytest.mark.parametrize("url", ["triton", "triton:grpc"])
async def test_a_malformed_address_ends_the_start_with_one_clear_line(url: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="host:port"), nova_service(tmp_path, url):
        pass
