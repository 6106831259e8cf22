"""Every error of the REST surface is a problem document (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from fastapi import APIRouter, HTTPException, WebSocket
from pydantic import BaseModel, ConfigDict
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from shared.errors import (
    InputError,
    Overloaded,
    PeerProtocol,
    PeerTimeout,
    PeerUnavailable,
    Unauthorized,
    UnknownModel,
    VoxloopError,
)
from tests.shared.served import served, websocket

ERRORS: dict[str, VoxloopError] = {
    error.code: error
    for error in (
        InputError("the prompt is empty", hint="Send one."),
        Unauthorized("no key"),
        UnknownModel("no such model"),
        Overloaded("64 answers are under way", hint="Try again."),
        PeerUnavailable("triton", "nobody there"),
        PeerTimeout("triton", "no token in 5 s"),
        PeerProtocol("triton", "nonsense"),
        VoxloopError("a bound was broken"),
    )
}


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompts: list[str]


router = APIRouter()


@router.get("/fails/{code}")
async def fails(code: str) -> None:
    raise ERRORS[code]


@router.post("/generate")
async def generate(_: Body) -> str:
    return "done"


@router.post("/echo")
async def echo(body: Body) -> None:
    raise UnknownModel(f"no model {body.prompts[0]}")


@router.get("/number/{number}")
async def number(number: int) -> int:
    return number


@router.get("/http/{status}")
async def http(status: int) -> None:
    raise HTTPException(status, "as it was said", headers={"X-Why": "because"})


@router.get("/breaks")
async def breaks() -> None:
    raise RuntimeError("a transcript that nobody may read")


@router.websocket("/early/{code}")
async def early(_: WebSocket, code: str) -> None:
    raise ERRORS[code]


@router.websocket("/late/{code}")
async def late(socket: WebSocket, code: str) -> None:
    await socket.accept()
    raise ERRORS[code]


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with served(router) as opened:
        yield opened


def document(answer: httpx.Response, status: int) -> dict[str, Any]:
    """What every problem document has."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body.keys() >= {"type", "title", "status", "detail", "code", "retryable"}
    assert body["type"] == "about:blank"
    assert body["status"] == status
    return body


@pytest.mark.parametrize("code", ERRORS)
async def test_an_error_of_ours_says_what_was_wrong_what_to_do_and_whether_to_try_again(
    client: httpx.AsyncClient, code: str
) -> None:
    answer = await client.get(f"/fails/{code}")
    body = document(answer, ERRORS[code].status)
    assert body["detail"] == str(ERRORS[code])
    assert body["code"] == code
    assert body["retryable"] == ERRORS[code].retryable


@pytest.mark.parametrize(
    ("code", "after"), [("overloaded", "1"), ("peer_unavailable", "1"), ("bad_request", None)]
)
async def test_retry_after_comes_with_what_may_pass_soon(
    client: httpx.AsyncClient, code: str, after: str | None
) -> None:
    assert (await client.get(f"/fails/{code}")).headers.get("retry-after") == after


async def test_who_has_no_key_is_told_which_scheme_to_use(client: httpx.AsyncClient) -> None:
    assert (await client.get("/fails/unauthorized")).headers["www-authenticate"] == "Bearer"


# What the framework refuses


async def test_a_body_that_does_not_fit_is_told_field_by_field(client: httpx.AsyncClient) -> None:
    answer = await client.post("/generate", json={"prompts": ["a", 2], "promts": 1})
    body = document(answer, 400)
    assert body["code"] == "bad_request"
    assert {fault["where"] for fault in body["errors"]} == {"body.prompts.1", "body.promts"}
    assert "body.prompts.1: Input should be a valid string" in body["detail"]


async def test_what_was_sent_is_not_repeated(client: httpx.AsyncClient) -> None:
    answer = await client.post("/generate", json={"prompts": {"my": "diary"}})
    assert "diary" not in answer.text


async def test_a_fault_in_each_of_a_thousand_places_is_not_told_a_thousand_times(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/generate", json={"prompts": [1] * 1000})
    body = document(answer, 400)
    assert body["detail"].endswith("and 984 more")
    assert len(answer.content) < 10_000


async def test_a_field_name_of_a_novels_length_is_cut(client: httpx.AsyncClient) -> None:
    answer = await client.post("/generate", json={"x" * 100_000: 1, "prompts": []})
    assert document(answer, 400)["errors"][0]["where"].startswith("body.xxx")
    assert len(answer.content) < 2_000


BODIES = [b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b'{"prompts":["\xff"]}', b'{"prompts":[NaN]}']
BODIES += [b'{"prompts":[],"\\ud800":1}', b"[" * 100_000, b'{"prompts":' * 5_000]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
async def test_whatever_the_body_is_the_answer_is_a_document(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/generate", content=body, headers={"content-type": "application/json"})
    assert document(answer, 400)["code"] == "bad_request"


async def test_what_an_error_quotes_may_be_half_a_surrogate_pair(client: httpx.AsyncClient) -> None:
    json = {"content-type": "application/json"}
    answer = await client.post("/echo", content=b'{"prompts": ["a\\ud800b"]}', headers=json)
    assert document(answer, 404)["detail"] == "no model a?b"


async def test_a_path_that_is_not_there(client: httpx.AsyncClient) -> None:
    body = document(await client.get("/nowhere"), 404)
    assert (body["code"], body["retryable"]) == ("not_found", False)


async def test_a_path_with_a_parameter_that_does_not_fit(client: httpx.AsyncClient) -> None:
    assert document(await client.get("/number/x"), 400)["errors"][0]["where"] == "path.number"


async def test_a_wrong_method_is_told_the_right_one(client: httpx.AsyncClient) -> None:
    answer = await client.get("/generate")
    assert document(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("status", "title", "code"),
    [
        (413, None, None),
        (418, None, None),
        (499, "Client Error", "client_error"),
        (599, "Server Error", "server_error"),
    ],
)
async def test_any_status_that_a_route_raises_is_kept_with_its_headers(
    client: httpx.AsyncClient, status: int, title: str | None, code: str | None
) -> None:
    answer = await client.get(f"/http/{status}")
    body = document(answer, status)
    assert body["detail"] == "as it was said"
    assert title in (None, body["title"])
    assert code in (None, body["code"])
    assert answer.headers["x-why"] == "because"


async def test_an_error_that_nobody_expected_is_in_the_log_and_not_in_the_answer(
    client: httpx.AsyncClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = await client.get("/breaks")
    body = document(answer, 500)
    assert (body["code"], body["retryable"]) == ("internal", False)
    assert "transcript" not in answer.text
    ours = [record for record in caplog.records if record.name == "shared.problems"]
    assert [record.getMessage() for record in ours] == ["GET /breaks failed by RuntimeError"]
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert len(tracebacks) == 1, "uvicorn's; ours would be the second"


async def test_the_service_lives_on(client: httpx.AsyncClient) -> None:
    for path in ("/breaks", "/nowhere", "/fails/internal", "/number/1"):
        answer = await client.get(path)
    assert answer.json() == 1


# WebSockets


async def test_an_error_before_the_handshake_is_a_document(client: httpx.AsyncClient) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await connect(websocket(client, "/early/overloaded"))
    assert caught.value.response.status_code == 429
    assert orjson.loads(caught.value.response.body)["code"] == "overloaded"


@pytest.mark.parametrize(
    ("code", "close"), [("overloaded", 1013), ("peer_timeout", 1013), ("bad_request", 1011)]
)
async def test_an_error_after_it_closes_the_socket_by_its_code(
    client: httpx.AsyncClient, code: str, close: int
) -> None:
    async with connect(websocket(client, f"/late/{code}")) as socket:
        with pytest.raises(ConnectionClosedError) as caught:
            await socket.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (close, code)
