"""How a WebSocket ends whose client reads nothing any more, or sends nonsense."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.utils import ClientDisconnected
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from shared.websocket import WebSockets

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def flood(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Sends until the client takes no more, and is done."""
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.2):
                await send({"type": "websocket.send", "bytes": bytes(1 << 16)})


@asynccontextmanager
async def serving(app: Any, **more: Any) -> AsyncIterator[tuple[uvicorn.Server, tuple[str, int]]]:
    config = uvicorn.Config(app, lifespan="off", log_config=None, ws=WebSockets, **more)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve([listener]))
        try:
            async with asyncio.timeout(30):
                yield server, listener.getsockname()
        finally:
            server.should_exit = True
            await task


PINGS = Frame(Opcode.PING, b"?").serialize(mask=True) * 1_000_000  # more than the kernel holds


def text(data: bytes) -> bytes:
    return Frame(Opcode.TEXT, data).serialize(mask=True)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (Frame(Opcode.BINARY, bytes(4 << 20)).serialize(mask=True), 1009),
        (b"\xff\xff" * (1 << 20), 1002),
        (text(b"\xff") + PINGS, 1007),
        (text(b"well") + text(b"\xff") + PINGS, 1007),
        (text(b"\xff") + Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True), 1000),
    ],
    ids=["too large", "no frame", "no text", "no text behind some", "no text before a goodbye"],
)
async def test_nonsense_is_answered_with_its_code_whatever_still_comes(
    sent: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    ended, client_is_gone = asyncio.Event(), asyncio.Event()
    heard: list[Any] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with suppress(ClientDisconnected):
            while True:
                await send({"type": "websocket.send", "text": ""})
                await asyncio.sleep(0.01)
        ended.set()
        await client_is_gone.wait()  # nothing of that waits for an app that hears nothing more
        while not heard or heard[-1]["type"] != "websocket.disconnect":
            heard.append(await receive())

    async with serving(app, ws_max_size=1 << 20) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(UPGRADE)
        assert b"101 Switching" in await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        await writer.drain()
        await ended.wait()
        answer = await reader.read()  # to the end: the server closes its side
        _, size, *told = answer[answer.index(Opcode.CLOSE | 0x80) :]  # behind the app's and pings
        assert size == len(told)
        assert int.from_bytes(told[:2]) == code
        writer.close()
        await writer.wait_closed()
        while server.server_state.connections:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)
        client_is_gone.set()
    assert heard[-1]["code"] == code
    assert "Fatal error" not in caplog.text


async def test_a_client_that_sends_nonsense_before_it_is_accepted_is_let_go(
    caplog: pytest.LogCaptureFixture,
) -> None:
    accept = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        accept.set()
        assert (await receive())["type"] == "websocket.disconnect"

    async with serving(app) as (_, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(UPGRADE)
        await accept.wait()
        writer.write(b"\xff" * 64)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert not caplog.records


async def test_a_client_that_reads_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.websocket.ABORT_AFTER_S", 0.1)
    async with serving(flood, ws_per_message_deflate=False) as (server, (host, port)):
        uri = f"ws://{host}:{port}"
        async with connect(uri, proxy=None, close_timeout=0.1, max_size=None) as client:
            client.transport.pause_reading()
            while not server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            while server.server_state.connections:  # noqa: ASYNC110 - uvicorn tells nobody
                await asyncio.sleep(0.01)
