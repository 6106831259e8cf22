"""/v1 over the wire, asked as OpenAI's clients ask, and by OpenAI's own where it is installed."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.fixtures.nova import NovaService, settled
from tests.fixtures.triton import Triton
from tests.services.nova.sse import events

CHAT = "/v1/chat/completions"


def body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "nova", "messages": [{"role": "user", "content": text}], **more}


async def streamed(http: httpx.AsyncClient, text: str, **more: Any) -> list[Any]:
    async with http.stream("POST", CHAT, json=body(text, stream=True, **more)) as response:
        assert response.status_code == 200
        return await events(response)


async def test_an_answer_has_openais_shape(http: httpx.AsyncClient) -> None:
    answer = (await http.post(CHAT, json=body("say one |two"))).json()
    assert answer.pop("id").startswith("chatcmpl-")
    assert answer.pop("created") > 0
    assert answer == {
        "object": "chat.completion",
        "model": "nova",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "one two", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


async def test_a_streamed_answer_has_openais_shape(http: httpx.AsyncClient) -> None:
    *chunks, done = await streamed(http, 'say one "|é\n', stream_options={"include_usage": True})
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    *spoken, closing, usage = chunks
    deltas = [chunk["choices"][0]["delta"] for chunk in spoken]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": 'one "'}, {"content": "é\n"}]
    assert closing["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


async def test_usage_comes_in_a_stream_only_when_asked_for(http: httpx.AsyncClient) -> None:
    *_, closing, done = await streamed(http, "count", max_completion_tokens=3)
    assert closing["choices"][0]["finish_reason"] == "length"
    assert done == "[DONE]"


async def test_an_empty_answer_still_begins_with_its_role(http: httpx.AsyncClient) -> None:
    first, closing, _ = await streamed(http, "say END", stop=["END"])
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert closing["choices"][0]["finish_reason"] == "stop"


async def test_content_may_come_in_parts_and_developers_are_systems(http: httpx.AsyncClient) -> None:
    parts = [{"type": "text", "text": "say "}, {"type": "text", "text": "yes"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    answer = (await http.post(CHAT, json={"model": "nova", "messages": messages})).json()
    assert answer["choices"][0]["message"]["content"] == "yes"


async def test_what_a_client_sends_as_a_matter_of_course_does_no_harm(http: httpx.AsyncClient) -> None:
    neutral = {"n": 1, "tools": [], "logprobs": False, "frequency_penalty": 0.0, "user": "me", "stop": None}
    assert (await http.post(CHAT, json=body("say a", **neutral))).status_code == 200


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"n": 2}, "n is not supported"),
        ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "NOVA_CONTRACT=vllm takes"),
        ({"tools": [{"type": "function", "function": {"name": "x y"}}]}, "tools.0.function.name"),
        ({"logprobs": True}, "logprobs is not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format is not supported"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "5"}]}, "carries none"),
        ({"messages": [{"role": "wizard", "content": "5"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "type"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_bad_request_is_refused_in_openais_form(
    http: httpx.AsyncClient, more: dict[str, Any], words: str, stream: bool
) -> None:
    response = await http.post(CHAT, json=body("say a", stream=stream) | more)
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "status", "kind", "code"),
    [
        ("long", 400, "invalid_request_error", "bad_request"),
        ("refuse", 502, "api_error", "peer_refused"),
        ("full", 503, "api_error", "peer_unavailable"),
    ],
)
async def test_errors_have_openais_form(
    http: httpx.AsyncClient, text: str, status: int, kind: str, code: str, stream: bool
) -> None:
    response = await http.post(CHAT, json=body(text, stream=stream))
    assert response.status_code == status
    assert {name: response.json()["error"][name] for name in ("type", "code")} == {"type": kind, "code": code}


async def test_what_is_no_json_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post(CHAT, content=b"{", headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    response = await http.post(CHAT, json=body("x" * (1 << 20)))
    assert (response.status_code, response.json()["error"]["type"]) == (413, "invalid_request_error")


async def test_what_breaks_in_mid_stream_ends_it_with_an_error_and_no_done(http: httpx.AsyncClient) -> None:
    *_, last = await streamed(http, "break")
    assert last["error"]["code"] == "peer_refused"


async def test_models_are_listed_and_others_unknown(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1/models")).json()
    assert (listed["object"], [model["id"] for model in listed["data"]]) == ("list", ["nova"])
    assert (await http.get("/v1/models/nova")).json()["object"] == "model"
    for response in (
        await http.get("/v1/models/gpt-9"),
        await http.post(CHAT, json=body("a") | {"model": "gpt-9"}),
    ):
        assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


async def test_openais_own_client_works_unmodified(
    obedient_nova: NovaService, obedient_triton: Triton
) -> None:
    openai = pytest.importorskip("openai", reason="OpenAI's client is not installed")
    async with openai.AsyncOpenAI(
        base_url=f"{obedient_nova.http}/v1", api_key="any", max_retries=0
    ) as client:
        assert [model.id async for model in client.models.list()] == ["nova"]

        answer = await client.chat.completions.create(**body("say one |two"))
        assert answer.choices[0].message.content == "one two"
        assert answer.usage.total_tokens == 5

        pieces = await client.chat.completions.create(
            **body("say one |EN|D", stop="END", stream=True, stream_options={"include_usage": True})
        )
        chunks = [chunk async for chunk in pieces]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one "
        assert chunks[-1].usage.prompt_tokens == 3

        echo = await client.chat.completions.create(**body("echo", temperature=0.5, seed=3, max_tokens=9))
        assert json.loads(echo.choices[0].message.content)["seed"] == 3

        with pytest.raises(openai.BadRequestError, match="temperature"):
            await client.chat.completions.create(**body("say a", temperature=9))
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(**(body("say a") | {"model": "gpt-9"}))
        with pytest.raises(openai.APIError):
            async for _ in await client.chat.completions.create(**body("break", stream=True)):
                pass

        forever = await client.chat.completions.create(**body("forever", stream=True))
        async for _ in forever:
            break
        await forever.close()
        await settled(obedient_triton)


@pytest.mark.parametrize(
    "messages",
    [[{}] * 200_000, [{"role": "user", "content": [1] * 300_000}]],
    ids=["empty messages", "parts that are none"],
)
async def test_what_is_wrong_very_often_is_told_once(http: httpx.AsyncClient, messages: list[Any]) -> None:
    response = await http.post(CHAT, json={"model": "nova", "messages": messages})
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert len(response.content) < 2000


@pytest.mark.parametrize(("method", "path", "status"), [("GET", CHAT, 405), ("POST", "/v1/embeddings", 404)])
async def test_what_is_not_served_is_refused_in_openais_form(
    http: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    response = await http.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["type"] == "invalid_request_error"
