"""A client that takes nothing, or too little, is let go within a bound: its turn and its socket with it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.services.sophia.conftest import Client, Sophia, served
from tests.services.sophia.engines import Scripted

SMALL = 4096
"""Bytes that the system keeps for a socket."""


@pytest.fixture
async def sophia(engines: Scripted, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sophia]:
    """With little room on the way to a client, so that what is not read is soon seen."""
    monkeypatch.setattr("services.sophia.connection.FLUSH_DEADLINE_S", 0.1)
    monkeypatch.setattr("shared.websocket.ABORT_AFTER_S", 0.1)
    engines.nova.answer, engines.nova.endless = [f" word{index}" for index in range(400)], True
    async with served(engines) as sophia:
        assert sophia.server is not None
        sophia.server.servers[0].sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        yield sophia


@asynccontextmanager
async def listening(sophia: Sophia, path: str = "/sophia/voice") -> AsyncIterator[ClientConnection]:
    """A client to which the reply to a question is on its way, 19 kB for each 100 ms."""
    host, port = sophia.address.split(":")
    with socket.socket() as mine:
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        mine.setblocking(False)
        await asyncio.get_running_loop().sock_connect(mine, (host, int(port)))
        uri = f"ws://{sophia.address}{path}"
        async with connect(
            uri, sock=mine, compression=None, max_queue=None, close_timeout=0.1, ping_interval=None
        ) as there:
            client = Client(there)
            await client.send(type="session.start", output_sample_rate=96000)
            await client.send(type="text", text="tell me a story")
            await client.until("audio")
            there.transport.pause_reading()
            yield there


async def let_go(sophia: Sophia) -> None:
    async with asyncio.timeout(30):
        await sophia.engines.nova.cancelled.wait()
        assert sophia.server is not None
        while sophia.server.server_state.connections:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)


async def test_one_that_takes_nothing(sophia: Sophia, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.sophia.connection.SEND_DEADLINE_S", 0.2)
    async with listening(sophia):
        await let_go(sophia)


async def test_one_that_always_takes_a_little(sophia: Sophia, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.sophia.outbox.MAX_BEHIND_S", 1.0)
    async with listening(sophia) as there:
        letting_go = asyncio.create_task(let_go(sophia))
        while not letting_go.done():
            there.transport.resume_reading()
            await asyncio.sleep(0)
            there.transport.pause_reading()
            await asyncio.wait([letting_go], timeout=0.1)
        await letting_go
