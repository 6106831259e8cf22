"""A WebSocket whose client has stopped to read ends all the same."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect

from shared.websocket import WebSockets


async def flood(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Sends until the client takes no more, and is done."""
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.2):
                await send({"type": "websocket.send", "bytes": bytes(1 << 16)})


async def test_a_client_that_reads_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.websocket.ABORT_AFTER_S", 0.1)
    config = uvicorn.Config(
        flood, lifespan="off", log_config=None, ws=WebSockets, ws_per_message_deflate=False
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        uri = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        async with asyncio.timeout(20), connect(uri, proxy=None, close_timeout=0.1, max_size=None) as client:
            client.transport.pause_reading()
            while not server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            while server.server_state.connections:  # noqa: ASYNC110 - uvicorn tells nobody
                await asyncio.sleep(0.01)
        server.should_exit = True
        await serving
