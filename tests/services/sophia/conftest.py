"""sophia served by a real uvicorn on a free port, with scripted engines behind it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from services.sophia.app import create_app
from services.sophia.settings import SophiaSettings
from shared.websocket import WebSockets
from tests.conftest import ROOT
from tests.services.sophia.engines import Scripted, scripted_engines

DEADLINE_S = 40.0


@dataclass
class Client:
    """One voice session, as a client sees it."""

    socket: ClientConnection
    events: list[dict[str, Any]] = field(default_factory=list)
    """Everything received, in order; audio as {"type": "audio", "pcm": …}."""

    async def send(self, **message: Any) -> None:
        await self.socket.send(orjson.dumps(message).decode())

    async def say(self, pcm: bytes) -> None:
        """Microphone audio in pieces of 20 ms, as fast as it goes."""
        for start in range(0, len(pcm), 640):
            await self.socket.send(pcm[start : start + 640])

    async def until(self, *kinds: str) -> dict[str, Any]:
        """The next event of these types; whatever comes before it is kept in `events`."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    event = _decoded(await self.socket.recv())
                    self.events.append(event)
                    if event["type"] in kinds:
                        return event
        except TimeoutError:
            seen = [
                event for event in self.events if event["type"] not in ("audio", "animation", "reply.text")
            ]
            raise AssertionError(f"no {kinds} within {DEADLINE_S:g} s, but {seen}") from None

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


def _decoded(message: str | bytes) -> dict[str, Any]:
    if isinstance(message, bytes):
        return {"type": "audio", "pcm": message}
    event: dict[str, Any] = orjson.loads(message)
    return event


@dataclass
class Sophia:
    engines: Scripted
    address: str
    server: uvicorn.Server | None = field(default=None, kw_only=True)
    """Where it runs in this process."""

    @asynccontextmanager
    async def session(self, **start: Any) -> AsyncIterator[Client]:
        async with connect(f"ws://{self.address}/sophia/voice", proxy=None) as socket:
            client = Client(socket)
            await client.send(type="session.start", **start)
            await client.until("session.started")
            yield client


@asynccontextmanager
async def served(engines: Scripted, **settings: Any) -> AsyncIterator[Sophia]:
    peers = {
        "riva_uri": engines.addresses["riva"],
        "riva_tls": False,
        "nova_uri": engines.addresses["nova"],
        "aurora_uri": engines.addresses["aurora"],
    }
    app = create_app(SophiaSettings(**peers | settings))
    config = uvicorn.Config(app, port=0, log_config=None, ws=WebSockets, ws_max_size=1 << 20)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done(), "sophia did not start"
        await asyncio.sleep(0.01)  # uvicorn tells nobody that it has started
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Sophia(engines, f"127.0.0.1:{port}", server=server)
    finally:
        server.should_exit = True
        await serving


@dataclass
class Process(Sophia):
    """`python -m services.sophia`, as an operator runs it."""

    process: asyncio.subprocess.Process
    output: bytes = b""

    def terminate(self) -> None:
        self.process.terminate()

    async def ended(self) -> int:
        """Its exit status; reads what it still says."""
        async with asyncio.timeout(DEADLINE_S):
            assert self.process.stdout is not None
            self.output += await self.process.stdout.read()
            return await self.process.wait()


@asynccontextmanager
async def process(engines: Scripted, **settings: Any) -> AsyncIterator[Process]:
    wanted = {
        "riva_uri": engines.addresses["riva"],
        "riva_tls": 0,
        "nova_uri": engines.addresses["nova"],
        "aurora_uri": engines.addresses["aurora"],
        "http_port": 0,
        **settings,
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.sophia",
        cwd=ROOT,
        env={**os.environ, **{f"SOPHIA_{name.upper()}": str(value) for name, value in wanted.items()}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert child.stdout is not None
    try:
        said = b""
        async with asyncio.timeout(DEADLINE_S):
            while (started := re.search(rb"running on http://(\S+)", said)) is None:
                line = await child.stdout.readline()
                assert line, f"it ended: {said.decode()}"
                said += line
        yield Process(engines, started[1].decode(), child, said)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


@pytest.fixture
async def engines() -> AsyncIterator[Scripted]:
    async with scripted_engines() as engines:
        yield engines


@pytest.fixture
async def sophia(engines: Scripted) -> AsyncIterator[Sophia]:
    async with served(engines) as sophia:
        yield sophia


Serve = Callable[..., Awaitable[Sophia]]
