"""A cable between the browser and sophia, which a test can cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Cable:
    address: str = ""
    _ends: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """Every connection ends at once, without a goodbye; new ones are carried as before."""
        for end in self._ends:
            end.transport.abort()


@asynccontextmanager
async def plugged(address: str) -> AsyncIterator[Cable]:
    """To what listens at `address` (host:port)."""
    cable = Cable()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*address.split(":"))
        ends = {writer, far_writer}
        cable._ends |= ends
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        cable._ends -= ends

    async with await asyncio.start_server(carry, "127.0.0.1", 0) as server:
        cable.address = "127.0.0.1:{1}".format(*server.sockets[0].getsockname())
        yield cable
        cable.cut()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    target.close()
