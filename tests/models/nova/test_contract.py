"""models/nova answers as Triton's vLLM backend does (triton-inference-server/vllm_backend)."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from tritonclient.grpc.aio import InferenceServerClient

from tests.fixtures.triton import MODEL, Triton
from tests.models.nova.wire import (
    HELLO,
    events,
    post,
    refusal,
    responses,
    streamed,
    texts,
    whole,
)

GREEDY = {"max_tokens": 24, "temperature": 0, "ignore_eos": True}

VLLM_INPUTS = {
    "text_input": ("TYPE_STRING", ["1"], False),
    "stream": ("TYPE_BOOL", ["1"], True),
    "sampling_parameters": ("TYPE_STRING", ["1"], True),
    "exclude_input_in_output": ("TYPE_BOOL", ["1"], True),
    "return_finish_reason": ("TYPE_BOOL", ["1"], True),
    "return_cumulative_logprob": ("TYPE_BOOL", ["1"], True),
    "return_logprobs": ("TYPE_BOOL", ["1"], True),
    "return_num_input_tokens": ("TYPE_BOOL", ["1"], True),
    "return_num_output_tokens": ("TYPE_BOOL", ["1"], True),
}
VLLM_OUTPUTS = {
    "text_output": ("TYPE_STRING", ["-1"]),
    "finish_reason": ("TYPE_STRING", ["-1"]),
    "cumulative_logprob": ("TYPE_FP32", ["-1"]),
    "logprobs": ("TYPE_STRING", ["-1"]),
    "num_input_tokens": ("TYPE_UINT32", ["1"]),
    "num_output_tokens": ("TYPE_UINT32", ["-1"]),
}


async def test_the_tensors_have_vllms_names_types_and_shapes(triton_client: InferenceServerClient) -> None:
    config = (await triton_client.get_model_config(MODEL, as_json=True))["config"]
    assert {
        tensor["name"]: (tensor["data_type"], tensor["dims"], tensor.get("optional", False))
        for tensor in config["input"]
    } == VLLM_INPUTS
    assert {
        tensor["name"]: (tensor["data_type"], tensor["dims"]) for tensor in config["output"]
    } == VLLM_OUTPUTS
    assert config["model_transaction_policy"] == {"decoupled": True}
    assert config.get("max_batch_size", 0) == 0


async def test_a_stream_is_the_whole_answer_in_pieces(triton_client: InferenceServerClient) -> None:
    pieces = await streamed(triton_client, HELLO, GREEDY)
    assert len(pieces) > 1
    assert "".join(pieces) == await whole(triton_client, HELLO, GREEDY)


async def test_by_default_nothing_is_streamed_and_the_prompt_comes_first(
    triton_client: InferenceServerClient, triton: Triton
) -> None:
    answer = await whole(triton_client, HELLO, GREEDY)
    body = {"text_input": HELLO, "sampling_parameters": json.dumps(GREEDY)}
    assert post(triton, body).json()["text_output"] == HELLO + answer


async def test_by_default_sixteen_tokens_are_sampled(triton_client: InferenceServerClient) -> None:
    (result,) = [
        result
        async for result in responses(
            triton_client,
            HELLO,
            {"ignore_eos": True},
            stream=False,
            return_num_output_tokens=True,
            return_finish_reason=True,
        )
    ]
    assert result.as_numpy("num_output_tokens").tolist() == [16]
    assert result.as_numpy("finish_reason").tolist() == [b"length"]


async def test_only_what_is_asked_for_is_returned(triton_client: InferenceServerClient) -> None:
    async for result in responses(triton_client, HELLO, GREEDY):
        assert [output.name for output in result.get_response().outputs] == ["text_output"]


async def test_a_stream_tells_counts_reasons_and_logprobs(triton_client: InferenceServerClient) -> None:
    flags = {name: True for name in VLLM_INPUTS if name.startswith("return_")}
    results = [result async for result in responses(triton_client, HELLO, GREEDY | {"logprobs": 1}, **flags)]
    assert sum(int(result.as_numpy("num_output_tokens")[0]) for result in results) == GREEDY["max_tokens"]
    assert len({int(result.as_numpy("num_input_tokens")[0]) for result in results}) == 1
    assert [result.as_numpy("finish_reason")[0] for result in results[:-1]] == [b"None"] * (len(results) - 1)
    assert results[-1].as_numpy("finish_reason")[0] == b"length"
    logprobs = [
        entry["logprob"]
        for result in results
        for token in json.loads(result.as_numpy("logprobs")[0])
        for entry in token.values()
    ]
    assert len(logprobs) == GREEDY["max_tokens"]
    assert max(logprobs) <= 0
    assert results[-1].as_numpy("cumulative_logprob")[0] == pytest.approx(sum(logprobs), rel=1e-4)


async def test_logprobs_that_were_not_sampled_are_null(triton_client: InferenceServerClient) -> None:
    flags = {"return_logprobs": True, "return_cumulative_logprob": True}
    async for result in responses(triton_client, HELLO, GREEDY, **flags):
        assert result.as_numpy("logprobs").tolist() == [b"null"]
        assert result.as_numpy("cumulative_logprob") != result.as_numpy("cumulative_logprob")  # NaN


async def test_the_same_seed_gives_the_same_answer(triton_client: InferenceServerClient) -> None:
    sampled = {"max_tokens": 24, "temperature": 4, "ignore_eos": True, "seed": 7}
    first, again, other, unseeded = [
        await whole(triton_client, HELLO, sampled | change)
        for change in ({}, {}, {"seed": 8}, {"seed": None})
    ]
    assert first == again
    assert len({first, other, unseeded}) == 3


async def test_several_answers_come_side_by_side(triton_client: InferenceServerClient) -> None:
    sampled = {"n": 3, "max_tokens": 8, "temperature": 4, "ignore_eos": True, "seed": 7}
    answers = ["", "", ""]
    async for result in responses(triton_client, HELLO, sampled):
        answers = [answer + text for answer, text in zip(answers, texts(result), strict=True)]
    assert len(set(answers)) == 3
    assert answers[0] == await whole(triton_client, HELLO, sampled | {"n": 1})


async def test_a_stop_string_is_never_sent(triton_client: InferenceServerClient) -> None:
    full = await whole(triton_client, HELLO, GREEDY)
    middle = len(full) // 2
    stop = full[middle : middle + 6]
    stopping = GREEDY | {"stop": [stop, "never seen"]}
    assert "".join(await streamed(triton_client, HELLO, stopping)) == full[: full.find(stop)]
    assert await whole(triton_client, HELLO, stopping) == full[: full.find(stop)]
    kept = stopping | {"include_stop_str_in_output": True}
    assert await whole(triton_client, HELLO, kept) == full[: full.find(stop) + len(stop)]


async def test_an_answer_ends_where_the_context_does(triton_client: InferenceServerClient) -> None:
    refused = await refusal(triton_client, HELLO * 600, GREEDY)
    found = re.search(r"the prompt has (\d+) tokens; this model takes (\d+), the answer included", refused)
    assert found, refused
    length, context = map(int, found.groups())
    prompt = HELLO * (600 * (context - 50) // length)
    (result,) = [
        result
        async for result in responses(
            triton_client,
            prompt,
            GREEDY | {"max_tokens": 10**6},
            stream=False,
            return_finish_reason=True,
            return_num_output_tokens=True,
            return_num_input_tokens=True,
        )
    ]
    assert result.as_numpy("finish_reason").tolist() == [b"length"]
    assert int(result.as_numpy("num_input_tokens")[0] + result.as_numpy("num_output_tokens")[0]) == context


@pytest.mark.parametrize(
    ("prompt", "sampling", "flags", "complaint"),
    [
        ("", GREEDY, {}, "the prompt is empty"),
        (HELLO, "{bad", {}, "sampling_parameters is not JSON"),
        (HELLO, {"max_token": 3}, {}, "sampling_parameters: unexpected parameter 'max_token'"),
        (HELLO, {"max_tokens": 0}, {}, "sampling_parameters: max_tokens must be a whole number from 1"),
        (
            HELLO,
            GREEDY,
            {"exclude_input_in_output": False},
            "When streaming, `exclude_input_in_output` = False",
        ),
        ("Hello " * 100_000, GREEDY, {}, "the prompt has more than"),
        (b"\xff\xfe", GREEDY, {}, "text_input and sampling_parameters must be UTF-8"),
    ],
)
async def test_a_bad_request_is_refused_in_its_stream(
    triton_client: InferenceServerClient,
    prompt: str | bytes,
    sampling: object,
    flags: dict[str, bool],
    complaint: str,
) -> None:
    assert f"Error generating stream: {complaint}" in await refusal(triton_client, prompt, sampling, **flags)
    assert await whole(triton_client, HELLO, GREEDY)


@pytest.mark.parametrize("prompt", ["   ", "\x00", "🙂", "<|end|>", "<|nonsense|>", "Grüße\r\n\t"])
async def test_any_text_may_be_a_prompt(triton_client: InferenceServerClient, prompt: str) -> None:
    pieces = await streamed(triton_client, prompt, GREEDY)
    assert pieces


def test_http_takes_the_same_request(triton: Triton) -> None:
    """As vLLM's README has it: what is no tensor travels as a parameter."""
    parameters = {"stream": False, "temperature": 0, "max_tokens": 8, "exclude_input_in_output": True}
    answer = post(triton, {"text_input": HELLO, "parameters": parameters})
    assert answer.is_success
    streamed_ = post(
        triton, {"text_input": HELLO, "parameters": parameters | {"stream": True}}, "generate_stream"
    )
    assert "".join(event["text_output"] for event in events(streamed_)) == answer.json()["text_output"]


def test_http_reports_a_bad_request(triton: Triton) -> None:
    answer = post(triton, {"text_input": HELLO, "parameters": {"temperature": -1}})
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert "temperature must be a number from 0" in answer.json()["error"]
