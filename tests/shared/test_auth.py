"""API keys: the same rule for HTTP, WebSocket and gRPC."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from fastapi import APIRouter, WebSocket
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from shared.app import grpc_server
from shared.auth import accepted, subprotocol
from tests.shared.served import Settings, served, websocket
from tests.shared.test_tokens import SECRET, token

KEYS = ("first-key", "second-key")
GOOD = [f"Bearer {key}" for key in KEYS] + ["bearer first-key", "BEARER first-key", "Bearer   first-key "]
BAD = ["", "Bearer", "Bearer ", "first-key", "Basic first-key", "Bearer first-ke", "Bearer first-keyy"]
BAD += ["Bearer FIRST-KEY", "Bearer first-key second-key", "Bearer first-key,second-key", "Bearerfirst-key"]

router = APIRouter()


@router.get("/secret")
async def secret() -> str:
    return "told"


@router.websocket("/talk")
async def talk(socket: WebSocket) -> None:
    await socket.accept(subprotocol(socket.scope))
    await socket.send_text("told")


@router.websocket("/repeat")
async def repeat(socket: WebSocket) -> None:
    """Tells what the app can see of its own handshake."""
    await socket.accept(subprotocol(socket.scope))
    await socket.send_text(f"{socket.scope['subprotocols']} {socket.scope['headers']}")


# The rule


@pytest.mark.parametrize("value", GOOD)
def test_any_of_the_keys_is_accepted_as_a_bearer_token(value: str) -> None:
    assert accepted(value, [SecretStr(key) for key in KEYS])


@pytest.mark.parametrize("value", [None, *BAD])
def test_nothing_else_is(value: str | None) -> None:
    assert not accepted(value, [SecretStr(key) for key in KEYS])


@given(st.text() | st.text().map("Bearer {}".format))
def test_whatever_comes_is_refused_and_breaks_nothing(value: str) -> None:
    assert not accepted(value, [SecretStr("a-key-that-nobody-guesses")])
    assert not accepted(value, [])


# HTTP


async def test_without_keys_everybody_is_served() -> None:
    async with served(router) as client:
        assert (await client.get("/secret")).json() == "told"


@pytest.mark.parametrize("value", GOOD)
async def test_http_serves_who_has_a_key(value: str) -> None:
    async with served(router, keys=KEYS) as client:
        answer = await client.get("/secret", headers=[(b"authorization", value.strip().encode())])
        assert answer.json() == "told"


async def test_http_refuses_everybody_else_with_a_problem_document() -> None:
    async with served(router, keys=KEYS) as client:
        for value in BAD:
            answer = await client.get("/secret", headers={"authorization": value.strip()})
            assert answer.status_code == 401
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["code"] == "unauthorized"
            assert answer.json()["retryable"] is False
            assert "first-key" not in answer.text


@pytest.mark.parametrize("path", ["/metrics", "/docs", "/openapi.json", "/nowhere", "/healthz/", "//healthz"])
async def test_a_key_is_needed_for_every_other_path(path: str) -> None:
    async with served(router, keys=KEYS) as client:
        assert (await client.get(str(client.base_url).rstrip("/") + path)).status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_an_orchestrator_needs_none(path: str) -> None:
    async with served(router, keys=KEYS) as client:
        assert (await client.get(path)).status_code == 200


async def test_two_authorizations_pass_where_one_of_them_is_good() -> None:
    async with served(router, keys=KEYS) as client:
        for values in (["Bearer wrong", "Bearer first-key"], ["Bearer first-key", "Bearer wrong"]):
            answer = await client.get("/secret", headers=[("authorization", value) for value in values])
            assert answer.status_code == 200
        answer = await client.get("/secret", headers=[("authorization", "Bearer no")] * 2)
        assert answer.status_code == 401


@pytest.mark.parametrize(
    "value", [b"Bearer \xff\xfe", "Bearer schlüssel".encode(), b"\xf0\x9f\x98\x80", b"Bearer \x80"]
)
async def test_bytes_that_are_no_text_are_refused(value: bytes) -> None:
    async with served(router, keys=KEYS) as client:
        host, port = client.base_url.host, client.base_url.port
        reader, writer = await asyncio.open_connection(host, port)
        head = (
            b"GET /secret HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: " + value + b"\r\n\r\n"
        )
        writer.write(head)
        status = (await reader.read()).split(b"\r\n")[0]
        writer.close()
        await writer.wait_closed()
    assert status in (b"HTTP/1.1 401 Unauthorized", b"HTTP/1.1 400 Bad Request")


# WebSocket


async def test_a_websocket_with_a_key_opens() -> None:
    async with (
        served(router, keys=KEYS) as client,
        connect(websocket(client, "/talk"), additional_headers={"Authorization": GOOD[0]}) as socket,
    ):
        assert await socket.recv() == "told"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
async def test_a_websocket_without_one_is_refused_at_its_handshake(headers: dict[str, str]) -> None:
    async with served(router, keys=KEYS) as client:
        with pytest.raises(InvalidStatus) as caught:
            await connect(websocket(client, "/talk"), additional_headers=headers)
    assert caught.value.response.status_code == 401
    assert b'"code":"unauthorized"' in caught.value.response.body


# A browser, which can send no header with its WebSocket


def in_a_name(key: str) -> Subprotocol:
    return Subprotocol("voxloop.key." + base64.urlsafe_b64encode(key.encode()).rstrip(b"=").decode())


VOXLOOP = Subprotocol("voxloop")


@pytest.mark.parametrize("names", [[VOXLOOP, in_a_name("first-key")], [in_a_name("second-key"), VOXLOOP]])
async def test_a_websocket_may_bring_its_key_as_a_subprotocol(names: list[Subprotocol]) -> None:
    async with (
        served(router, keys=KEYS) as client,
        connect(websocket(client, "/talk"), subprotocols=names) as socket,
    ):
        assert await socket.recv() == "told"
        assert socket.subprotocol == "voxloop"


async def test_the_app_never_sees_that_key() -> None:
    names = [VOXLOOP, in_a_name("first-key")]
    async with (
        served(router, keys=KEYS) as client,
        connect(websocket(client, "/repeat"), subprotocols=names) as socket,
    ):
        seen = str(await socket.recv())
    assert "'voxloop'" in seen
    assert "voxloop.key" not in seen


@pytest.mark.parametrize(
    "names",
    [
        [VOXLOOP],
        [VOXLOOP, in_a_name("wrong")],
        [VOXLOOP, in_a_name("first-key,second-key")],
        [VOXLOOP, Subprotocol("voxloop.key.first-key")],
        [VOXLOOP, Subprotocol("voxloop.key.")],
        [VOXLOOP, Subprotocol("voxloop.key.A")],
        [VOXLOOP, Subprotocol("voxloop.key._w")],
        [Subprotocol("first-key")],
    ],
)
async def test_any_other_subprotocol_is_refused_at_the_handshake(names: list[Subprotocol]) -> None:
    async with served(router, keys=KEYS) as client:
        with pytest.raises(InvalidStatus) as caught:
            await connect(websocket(client, "/talk"), subprotocols=names)
    assert caught.value.response.status_code == 401


async def test_that_way_is_open_to_no_other_request() -> None:
    headers = {"sec-websocket-protocol": f"voxloop, {in_a_name('first-key')}"}
    async with served(router, keys=KEYS) as client:
        assert (await client.get("/secret", headers=headers)).status_code == 401


async def test_a_server_without_keys_answers_the_subprotocol_all_the_same() -> None:
    names = [VOXLOOP, in_a_name("left-over")]
    async with (
        served(router) as client,
        connect(websocket(client, "/talk"), subprotocols=names) as socket,
    ):
        assert socket.subprotocol == "voxloop"


# Tokens count wherever a key does


async def test_http_serves_who_has_a_token() -> None:
    async with served(router, jwt_secret=SECRET, jwt_audience="voxloop") as client:
        for value, status in ((token(aud="voxloop"), 200), (token(), 401), ("first-key", 401)):
            answer = await client.get("/secret", headers={"authorization": f"Bearer {value}"})
            assert answer.status_code == status


async def test_keys_and_tokens_count_side_by_side() -> None:
    async with served(router, keys=KEYS, jwt_secret=SECRET) as client:
        for value in ("first-key", token()):
            answer = await client.get("/secret", headers={"authorization": f"Bearer {value}"})
            assert answer.status_code == 200


async def test_a_websocket_takes_a_token_by_header_and_by_subprotocol() -> None:
    async with served(router, jwt_secret=SECRET) as client:
        url = websocket(client, "/talk")
        async with connect(url, additional_headers={"authorization": f"Bearer {token()}"}) as socket:
            assert await socket.recv() == "told"
        async with connect(url, subprotocols=[VOXLOOP, in_a_name(token())]) as socket:
            assert await socket.recv() == "told"
        with pytest.raises(InvalidStatus):
            await connect(url, subprotocols=[VOXLOOP, in_a_name(token(exp=-1))])


async def test_grpc_takes_a_token() -> None:
    async with protected(jwt_secret=SECRET) as channel:
        assert await call(channel, "UnaryUnary", f"Bearer {token()}") == b"told"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "UnaryUnary", f"Bearer {token(exp=-1)}")
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


# gRPC


async def unary(_: bytes, __: object) -> bytes:
    return b"told"


async def stream(_: object, __: object) -> AsyncIterator[bytes]:
    yield b"told"


METHODS = {
    "UnaryUnary": grpc.unary_unary_rpc_method_handler(unary),  # type: ignore[arg-type]
    "UnaryStream": grpc.unary_stream_rpc_method_handler(stream),  # type: ignore[arg-type]
    "StreamUnary": grpc.stream_unary_rpc_method_handler(unary),  # type: ignore[arg-type]
    "StreamStream": grpc.stream_stream_rpc_method_handler(stream),  # type: ignore[arg-type]
}


@asynccontextmanager
async def protected(**settings: Any) -> AsyncIterator[grpc.aio.Channel]:
    def add(server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", METHODS),))

    async with (
        grpc_server(Settings(**{"api_keys": KEYS, **settings}), 0, add, ["test.Test"]) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield channel


async def call(channel: grpc.aio.Channel, method: str, *authorizations: str) -> bytes:
    metadata = tuple(("authorization", value) for value in authorizations)
    path = f"/test.Test/{method}"

    async def requests() -> AsyncIterator[bytes]:
        yield b"?"

    request: Any = requests() if method.startswith("Stream") else b"?"
    kind = {
        "UnaryUnary": channel.unary_unary,
        "UnaryStream": channel.unary_stream,
        "StreamUnary": channel.stream_unary,
        "StreamStream": channel.stream_stream,
    }[method]
    answer: Any = kind(path)(request, metadata=metadata, timeout=10)
    if method.endswith("Stream"):
        return b"".join([part async for part in answer])
    told: bytes = await answer
    return told


@pytest.mark.parametrize("method", METHODS)
async def test_grpc_serves_who_has_a_key(method: str) -> None:
    async with protected() as channel:
        for value in GOOD:
            assert await call(channel, method, value.strip()) == b"told"


@pytest.mark.parametrize("method", METHODS)
async def test_grpc_refuses_everybody_else(method: str) -> None:
    async with protected() as channel:
        for values in [(), *((value,) for value in BAD), ("Bearer no", "Bearer never")]:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(channel, method, *values)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert caught.value.details() == "missing or unknown API key"


@pytest.mark.parametrize("values", [("Bearer wrong", GOOD[0]), (GOOD[0], "Bearer wrong"), (GOOD[0], GOOD[0])])
async def test_grpc_takes_the_authorization_twice_as_nvidias_client_sends_it(values: tuple[str, str]) -> None:
    async with protected() as channel:
        assert await call(channel, "UnaryUnary", *values) == b"told"


async def test_grpc_health_stays_open() -> None:
    async with protected() as channel:
        stub = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
        for name in ("", "test.Test"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=10)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


async def test_a_method_that_only_sounds_like_health_is_closed() -> None:
    async with protected() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/grpc.health.v1x.Health/Check")(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
