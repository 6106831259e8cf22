"""Clients that come, say something, and leave in one way or another."""

from __future__ import annotations

import asyncio

import orjson
from websockets.asyncio.client import ClientConnection, connect

from voxloop.bench.manners_caller import ANSWER_S
from voxloop.bench.manners_log import unhandled
from voxloop.bench.manners_metrics import SESSIONS, TASKS, fallen, metric
from voxloop.bench.manners_quarters import Quarters, quarters
from voxloop.bench.report import Figures, Row

AT_ONCE = 8
QUESTION = "What is the capital of France?"
LEAVE_AT = ("reply.started", "reply.text", "turn.metrics")


PARTS, WARM_UP = 5, 2
SETTLE_S = 30.0
NOTHING_KEPT = {"SOPHIA_RESUME_S": "1"}
"""A broken session's conversation waits for its client for two minutes: that is no leak."""


async def leaks(sessions: int) -> tuple[list[Row], Figures]:
    """A row for each part of the sessions: what sophia held behind it. Raises StartupError."""
    async with quarters(NOTHING_KEPT) as home:
        await visits(home, WARM_UP * (sessions // PARTS))  # what the first of all make is kept for the next
        held = [await _held(home)]
        for _ in range(PARTS):
            await visits(home, sessions // PARTS)
            held.append(await _held(home))
        faults = unhandled(home.log())
    rows: list[Row] = [
        {"part": "sessions", "what": number * (sessions // PARTS), "memory_mb": round(mb, 2), "tasks": tasks}
        for number, (mb, tasks) in enumerate(held)
    ]
    return rows, {
        "sessions": sessions // PARTS * PARTS,
        "sessions_leak_mb": round(held[-1][0] - held[0][0], 1),
        "sessions_leak_tasks": held[-1][1] - held[0][1],
        "unhandled": faults,
    }


async def _held(home: Quarters) -> tuple[float, int]:
    """MB and tasks once all sessions have ended, and what was kept of them has been forgotten."""
    await fallen(home.http, SESSIONS, 0, SETTLE_S)
    await asyncio.sleep(float(NOTHING_KEPT["SOPHIA_RESUME_S"]))
    tasks = await metric(home.http, TASKS)
    return home.memory_mb(), int(tasks)


async def visits(home: Quarters, count: int) -> None:
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
