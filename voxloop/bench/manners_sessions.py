"""Clients that come, say something, and leave in one way or another."""

from __future__ import annotations

import asyncio

import orjson
from websockets.asyncio.client import ClientConnection, connect

from voxloop.bench.manners_caller import ANSWER_S
from voxloop.bench.manners_stack import House

AT_ONCE = 8
QUESTION = "What is the capital of France?"
LEAVE_AT = ("reply.started", "reply.text", "turn.metrics")


async def visits(home: House, count: int) -> None:
    """So many sessions, some at a time. Raises what a session that got no answer raises."""
    turnstile = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with turnstile, asyncio.timeout(ANSWER_S):
            if number % 4:
                await _voice(home.voice_url, number)
            else:
                await _realtime(home.realtime_url)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))


async def _voice(url: str, number: int) -> None:
    async with connect(url, compression=None, proxy=None) as socket:
        await _send(socket, {"type": "session.start", "animation": True})
        await socket.send(bytes(640))
        await _send(socket, {"type": "text", "text": QUESTION})
        await _until(socket, LEAVE_AT[number % len(LEAVE_AT)])
        if number % 2:
            socket.transport.abort()
        else:
            await _send(socket, {"type": "session.end"})


async def _realtime(url: str) -> None:
    async with connect(url, compression=None, proxy=None) as socket:
        content = [{"type": "input_text", "text": QUESTION}]
        item = {"type": "message", "role": "user", "content": content}
        await _send(socket, {"type": "conversation.item.create", "item": item})
        await _send(socket, {"type": "response.create"})
        await _until(socket, "response.done")


async def _send(socket: ClientConnection, message: dict[str, object]) -> None:
    await socket.send(orjson.dumps(message).decode())


async def _until(socket: ClientConnection, kind: str) -> None:
    while True:
        message = await socket.recv()
        if isinstance(message, str) and orjson.loads(message)["type"] == kind:
            return
