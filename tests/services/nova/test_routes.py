"""POST /nova/generate over the wire, on an engine that does what its prompt says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.fixtures.nova import NovaService, settled
from tests.fixtures.triton import Triton
from tests.services.nova.sse import events, texts


async def ask(http: httpx.AsyncClient, **body: object) -> httpx.Response:
    return await http.post("/nova/generate", json=body)


async def outputs(http: httpx.AsyncClient, **body: object) -> list[dict[str, Any]]:
    response = await ask(http, **body)
    assert response.status_code == 200, response.text
    answer: list[dict[str, Any]] = response.json()["outputs"]
    return answer


async def problem(response: httpx.Response) -> dict[str, Any]:
    await response.aread()
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    return document


async def streamed(http: httpx.AsyncClient, **body: object) -> list[Any]:
    async with http.stream("POST", "/nova/generate", json={**body, "stream": True}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        return await events(response)


async def test_one_prompt_has_one_output_with_its_usage_and_timing(http: httpx.AsyncClient) -> None:
    response = await ask(http, prompt="say one, |two, |three", max_tokens=9)
    (output,) = response.json()["outputs"]
    timing = output.pop("timing")
    assert response.json()["model"] == "nova"
    assert output == {
        "index": 0,
        "text": "one, two, three",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 4, "completion_tokens": 3},
    }
    assert 0 < timing["ttft_ms"] <= timing["total_ms"]


async def test_messages_go_through_the_models_chat_template(http: httpx.AsyncClient) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "say yes"}]
    assert (await outputs(http, messages=messages))[0]["text"] == "yes"


async def test_what_the_template_refuses_is_the_callers_fault(http: httpx.AsyncClient) -> None:
    response = await ask(http, messages=[{"role": "assistant", "content": "Hello"}])
    assert response.status_code == 400
    assert "must have the last word" in (await problem(response))["detail"]


async def test_prompts_of_a_batch_are_answered_in_their_order(http: httpx.AsyncClient) -> None:
    answers = await outputs(http, prompt=[f"say {n}" for n in range(10)])
    assert [(answer["index"], answer["text"]) for answer in answers] == [(n, str(n)) for n in range(10)]


@pytest.mark.parametrize(
    ("bad", "code"),
    [("long", "bad_request"), ("", "bad_request"), ("half", "peer_protocol"), ("break", "peer_refused")],
)
async def test_one_bad_prompt_of_a_batch_fails_alone(http: httpx.AsyncClient, bad: str, code: str) -> None:
    before, failed, after = await outputs(http, prompt=["say before", bad, "say after"])
    assert (before["text"], before["finish_reason"]) == ("before", "stop")
    assert (after["text"], after["finish_reason"]) == ("after", "stop")
    assert failed["finish_reason"] == "error"
    assert failed["error"]["code"] == code
    assert failed["error"]["retryable"] is False


async def test_a_streamed_answer_is_deltas_a_closing_object_and_done(http: httpx.AsyncClient) -> None:
    *deltas, closing, done = await streamed(http, prompt="say a|b|\n|é", max_tokens=9)
    assert deltas == [{"index": 0, "text": text} for text in ("a", "b", "\n", "é")]
    assert set(closing) == {"index", "finish_reason", "usage", "timing"}
    assert closing["finish_reason"] == "stop"
    assert closing["usage"] == {"prompt_tokens": 3, "completion_tokens": 4}
    assert done == "[DONE]"


async def test_a_streamed_batch_interleaves_and_each_output_closes_once(http: httpx.AsyncClient) -> None:
    parsed = await streamed(http, prompt=["count", "long", "say x|y"], max_tokens=5)
    closings = {event["index"]: event["finish_reason"] for event in parsed[:-1] if "finish_reason" in event}
    assert texts(parsed[:-1]) == {0: "0 1 2 3 4 ", 2: "xy"}
    assert closings == {0: "length", 1: "error", 2: "stop"}
    assert parsed[-1] == "[DONE]"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_of_which_nothing_can_be_answered_is_a_problem(
    http: httpx.AsyncClient, stream: bool
) -> None:
    for prompt in ("long", ["long", ""]):
        response = await ask(http, prompt=prompt, stream=stream)
        assert response.status_code == 400
        document = await problem(response)
        assert (document["code"], document["retryable"]) == ("bad_request", False)


async def test_what_breaks_in_mid_stream_is_told_in_the_stream(http: httpx.AsyncClient) -> None:
    delta, closing, done = await streamed(http, prompt="break")
    assert delta == {"index": 0, "text": "one"}
    assert closing["finish_reason"] == "error"
    assert closing["error"]["code"] == "peer_refused"
    assert done == "[DONE]"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("prompt", "text"), [("say one |EN|D two", "one "), ("say one EN|EMY", "one ENEMY")])
async def test_stop_strings_work_across_token_borders(
    http: httpx.AsyncClient, prompt: str, text: str, stream: bool
) -> None:
    if stream:
        assert texts((await streamed(http, prompt=prompt, stop="END"))[:-1]) == {0: text}
    else:
        assert (await outputs(http, prompt=prompt, stop=["END", "never"]))[0]["text"] == text


async def test_an_engine_that_ignores_a_stop_string_is_stopped(
    http: httpx.AsyncClient, obedient_triton: Triton
) -> None:
    *_, closing, _ = await streamed(http, prompt="forever", stop="7")
    assert closing["finish_reason"] == "stop"
    await settled(obedient_triton)


async def test_the_first_tokens_deadline_is_not_that_of_a_whole_answer(http: httpx.AsyncClient) -> None:
    prompt = "slow 600"  # 1.2 s, and the first token may take 1 s
    assert (await outputs(http, prompt=prompt))[0]["text"] == "ok"
    assert (await problem(await ask(http, prompt=prompt, stream=True)))["code"] == "peer_timeout"


async def test_sampling_parameters_reach_the_engine(http: httpx.AsyncClient) -> None:
    (output,) = await outputs(
        http, prompt="echo", max_tokens=7, temperature=0.5, top_p=0.9, stop=["\t"], seed=2**40
    )
    assert json.loads(output["text"]) == {
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["\t"],
        "seed": 2**40,
    }
    (output,) = await outputs(http, prompt="echo")
    assert json.loads(output["text"]) == {"max_tokens": 256, "temperature": 0.0}


async def test_a_raw_prompt_passes_by_the_template(http: httpx.AsyncClient) -> None:
    assert (await outputs(http, prompt="say raw", raw=True))[0]["text"] == "raw"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "prompt or messages"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, "prompt or messages"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["say x"] * 10_000}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "a", "max_tokens": 10**9}, "max_tokens"),
        ({"prompt": "a", "max_tokens": 1.5}, "max_tokens"),
        ({"prompt": "a", "max_tokens": True}, "max_tokens"),
        ({"prompt": "a", "temperature": -0.1}, "temperature"),
        ({"prompt": "a", "temperature": 2.1}, "temperature"),
        ({"prompt": "a", "temperature": float("nan")}, "temperature"),
        ({"prompt": "a", "temperature": float("inf")}, "temperature"),
        ({"prompt": "a", "top_p": 0}, "top_p"),
        ({"prompt": "a", "top_p": 1.01}, "top_p"),
        ({"prompt": "a", "stop": [""]}, "stop"),
        ({"prompt": "a", "stop": ["x"] * 5}, "stop"),
        ({"prompt": "a", "seed": "lucky"}, "seed"),
        ({"prompt": "a", "seed": 2**63}, "seed"),
        ({"prompt": "a", "max_token": 5}, "max_token"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "b"}]}, "role"),
        ({"messages": [{"role": "user", "content": "b"}], "raw": True}, "raw"),
    ],
)
async def test_a_bad_request_is_refused_and_says_what_is_wrong(
    http: httpx.AsyncClient, body: dict[str, Any], where: str
) -> None:
    response = await http.post(
        "/nova/generate", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    document = await problem(response)
    assert response.status_code == 400
    assert where in document["detail"]
    assert document["retryable"] is False


async def test_what_is_no_json_or_no_unicode_is_refused(http: httpx.AsyncClient) -> None:
    for content in (b"{", b'{"prompt": "\xff"}', b'{"prompt": "\\ud800"}', b"[]", b"null", b""):
        response = await http.post(
            "/nova/generate", content=content, headers={"content-type": "application/json"}
        )
        assert (await problem(response))["code"] == "bad_request", content


async def test_an_unknown_model_is_named(http: httpx.AsyncClient) -> None:
    document = await problem(await ask(http, prompt="a", model="gpt-9"))
    assert (document["status"], document["code"]) == (404, "unknown_model")
    assert "'gpt-9'" in document["detail"]
    assert (await outputs(http, prompt="say a", model="nova"))[0]["text"] == "a"


async def test_too_large_a_body_is_refused_with_or_without_its_length(
    http: httpx.AsyncClient,
) -> None:
    body = json.dumps({"prompt": "x" * (1 << 20)}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1 << 16):
            yield body[start : start + (1 << 16)]

    for content in (body, chunks()):
        response = await http.post(
            "/nova/generate", content=content, headers={"content-type": "application/json"}
        )
        assert (await problem(response))["status"] == 413


async def test_when_all_come_at_once_each_gets_an_answer_or_is_told_to_return(
    http: httpx.AsyncClient, obedient_nova: NovaService
) -> None:
    refused_before = obedient_nova.metric("voxloop_nova_rejected_total", lane="batch")
    responses = await asyncio.gather(*(ask(http, prompt="slow 300") for _ in range(40)))
    refused = [response for response in responses if response.status_code == 429]
    answered = [response for response in responses if response.status_code == 200]
    assert len(answered) + len(refused) == 40
    assert len(answered) >= 3  # the places of this lane
    assert {response.headers["retry-after"] for response in refused} == {"1"}
    assert {(response.json()["code"], response.json()["retryable"]) for response in refused} == {
        ("overloaded", True)
    }
    assert obedient_nova.metric("voxloop_nova_rejected_total", lane="batch") == refused_before + len(refused)


async def test_a_batch_that_does_not_fit_the_queue_is_refused_whole(http: httpx.AsyncClient) -> None:
    both = await asyncio.gather(*(ask(http, prompt=["slow 150"] * 8) for _ in range(2)))
    assert sorted(response.status_code for response in both) == [200, 429]


async def test_a_batch_that_can_never_fit_is_not_told_to_come_back(http: httpx.AsyncClient) -> None:
    refusal = await problem(await ask(http, prompt=["say x"] * 12))
    assert (refusal["code"], refusal["retryable"]) == ("bad_request", False)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_ends_the_generation_in_the_engine(
    obedient_nova: NovaService, obedient_triton: Triton, stream: bool
) -> None:
    cancelled = obedient_nova.metric("voxloop_nova_cancelled_total")
    prompts = ["hang", "stall"]
    async with httpx.AsyncClient(base_url=obedient_nova.http, timeout=0.3) as client:
        with pytest.raises(httpx.ReadTimeout):
            async with client.stream(
                "POST", "/nova/generate", json={"prompt": prompts, "stream": stream}
            ) as response:
                await response.aread()
    await settled(obedient_triton)
    assert obedient_nova.metric("voxloop_nova_cancelled_total") == cancelled + len(prompts)
    assert obedient_nova.metric("voxloop_nova_in_flight") == 0


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": [1] * 300_000},
        {"messages": [{}] * 200_000},
        {"messages": [{"role": "user", "content": ""}] * 20_000},
        {"prompt": "hello", **{f"k{number}": 1 for number in range(60_000)}},
        {"prompt": "hello", "stop": [1] * 300_000},
    ],
    ids=["prompts", "empty messages", "too many messages", "fields", "stops"],
)
async def test_what_is_wrong_very_often_is_told_once(http: httpx.AsyncClient, body: dict[str, Any]) -> None:
    response = await http.post("/nova/generate", json=body)
    assert (await problem(response))["code"] == "bad_request"
    assert len(response.content) < 2000
