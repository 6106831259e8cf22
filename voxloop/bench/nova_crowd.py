"""Clients that all come at once, each with one question to nova's REST: `python -m … address count`.

They live in a process of their own, so that who measures beside them is not held up by them. What became of
them is printed as one line of JSON for each line read from standard input.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import orjson
import uvloop

from shared.errors import PeerProtocol
from shared.process import supervised
from voxloop.bench.nova_clients import QUESTIONS, NovaRest
from voxloop.paths import ROOT


class Crowd:
    """The crowd's process, seen from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def wave(self) -> Counter[str]:
        """All come once; how many were answered, refused, failed, hung."""
        assert self._process.stdin is not None  # noqa: S101 - it was started with pipes
        assert self._process.stdout is not None  # noqa: S101 - likewise
        self._process.stdin.write(b"\n")
        return Counter(orjson.loads(await self._process.stdout.readline()))


@asynccontextmanager
async def crowd(address: str, count: int) -> AsyncIterator[Crowd]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        address,
        str(count),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Crowd(process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _main(address: str, count: int) -> None:
    while await asyncio.to_thread(sys.stdin.readline):
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_one(address, QUESTIONS[number % len(QUESTIONS)]))
                for number in range(count)
            ]
        print(orjson.dumps(Counter(task.result() for task in tasks)).decode(), flush=True)


async def _one(address: str, question: str) -> str:
    """Each is a client of its own, with a connection of its own."""
    rest = NovaRest(address)
    try:
        status, _ = await rest.post([question])
    except TimeoutError:
        return "hung"
    except PeerProtocol:
        return "failed"
    finally:
        await rest.close()
    return {HTTPStatus.OK: "answered", HTTPStatus.TOO_MANY_REQUESTS: "refused"}.get(
        HTTPStatus(status), "failed"
    )


if __name__ == "__main__":
    supervised()
    uvloop.run(_main(sys.argv[1], int(sys.argv[2])))
