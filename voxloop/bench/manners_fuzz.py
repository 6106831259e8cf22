"""Clients that send nonsense, fast or byte by byte, and read at once or late; and one that simply talks."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, CloseCode

from voxloop.bench.loop import Loop, loop, speech
from voxloop.bench.loop_engines import Pace
from voxloop.bench.manners_aloud import converse
from voxloop.bench.manners_caller import caller
from voxloop.bench.manners_garbage import REALTIME, SENTINEL, VOICE, Garbage, Vocabulary, garbage
from voxloop.bench.manners_log import unhandled
from voxloop.bench.manners_metrics import SESSIONS, fallen
from voxloop.bench.report import Figures, Row

AT_ONCE = 8
A_SESSION = 80
"""Messages, of which the first that breaks the WebSocket is the last."""
ANSWERED_S = 60.0
"""The longest wait for the answers that a session is owed: sophia reads such clients slowly."""
SLOW_EVERY = 25
"""One session in so many sends byte by byte, and one reads a message now and then."""
SLOW_BYTES, SLOW_S = 24, 0.02
LEFT_S = 30.0


@dataclass
class Visit:
    """One session, and what came of it."""

    wire: str
    sent: Counter[str] = field(default_factory=Counter)
    owed: int = 0
    """Errors that have to come."""
    errors: int = 0
    close: Close | None = None
    """The server's, where it ended this."""
    is_lost: bool = False
    must_close: bool = False
    gave_up: bool = False
    """The client went away in the middle of a message."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def unanswered(self) -> int:
        if self.gave_up or self.close is not None:
            return 0
        return max(int(self.must_close), self.owed - self.errors)

    @property
    def is_crash(self) -> bool:
        """Ended by a fault of the server's own."""
        return self.is_lost or (self.close is not None and self.close.code == CloseCode.INTERNAL_ERROR)

    def row(self) -> Row:
        """Of one that went wrong."""
        return {
            "part": "fuzz session",
            "what": self.wire,
            "messages": self.sent.total(),
            "owed": self.owed,
            "errors": self.errors,
            "code": self.close.code if self.close is not None else None,
        }


async def fuzz(messages: int) -> tuple[list[Row], Figures]:
    """A row for each kind of message. Raises StartupError where the services do not start."""
    async with loop(Pace()) as running:
        over = asyncio.Event()
        async with caller(running.url) as person:
            talking = asyncio.create_task(converse(person, 1, speech(), over))
            try:
                visits = await _visits(running, messages)
            finally:
                over.set()
            turns = await talking
        left = await fallen(running.base.replace("ws", "http", 1), SESSIONS, 0, LEFT_S)
        faults = unhandled(running.log_file.read_text(errors="replace"))
        crashed = sum(not process.is_running() for process in running.processes)
    kinds: Counter[str] = sum((visit.sent for visit in visits), Counter())
    rows: list[Row] = [{"part": "fuzz", "what": kind, "messages": count} for kind, count in kinds.items()]
    rows += [visit.row() for visit in visits if visit.unanswered or visit.is_crash]
    rows += [{"part": "bystander", "what": turn.fault, "turn": turn.turn} for turn in turns if turn.fault]
    return rows, {
        "fuzzed_messages": kinds.total(),
        "fuzzed_sessions": len(visits),
        "crashes": crashed + sum(visit.is_crash for visit in visits),
        "unanswered": sum(visit.unanswered for visit in visits),
        "sessions_left_open": int(left),
        "bystander_turns": len(turns),
        "bystander_failed": sum(turn.fault != "" for turn in turns),
        "unhandled": faults,
    }


async def _visits(running: Loop, messages: int) -> list[Visit]:
    left, visits = messages, list[Visit]()

    async def come() -> None:
        nonlocal left
        while left > 0:
            number = len(visits)
            words = REALTIME if number % 2 else VOICE
            visit = Visit(words.path)
            visits.append(visit)
            await _visit(running.base + words.path, visit, words, number)
            left -= visit.sent.total()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(come())
    return visits


async def _visit(url: str, visit: Visit, words: Vocabulary, number: int) -> None:
    rng = random.Random(number)  # noqa: S311 - nonsense, not secrets
    async with connect(url, compression=None, proxy=None, max_size=None, ping_interval=None) as socket:
        reading = asyncio.create_task(_read(socket, visit, SLOW_S if number % SLOW_EVERY == 1 else 0.0))
        try:
            with suppress(ConnectionClosed):
                await _send(socket, visit, words, rng, byte_by_byte=number % SLOW_EVERY == 2)
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWERED_S):
                    await _until_answered(visit, reading)
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            if visit.gave_up or visit.unanswered:
                socket.transport.abort()


async def _until_answered(visit: Visit, reading: asyncio.Task[None]) -> None:
    while visit.unanswered and not reading.done():
        visit.news.clear()
        await visit.news.wait()


async def _send(
    socket: ClientConnection, visit: Visit, words: Vocabulary, rng: random.Random, *, byte_by_byte: bool
) -> None:
    for _ in range(A_SESSION):
        if socket.close_code is not None:
            return
        message = garbage(words, rng)
        visit.sent[message.kind] += 1
        visit.owed += message.is_refused
        await _write(socket, message, byte_by_byte=byte_by_byte)
        if message.is_cut:
            visit.gave_up = True
            return
        if message.ends:
            visit.must_close = True
            return
    visit.owed += 1
    await socket.send(SENTINEL)


async def _write(socket: ClientConnection, message: Garbage, *, byte_by_byte: bool) -> None:
    """Past the client's own protocol, which would send none of this."""
    head = message.wire[:SLOW_BYTES] if byte_by_byte else b""
    for piece in (*(bytes([byte]) for byte in head), message.wire[len(head) :]):
        if socket.close_code is not None:  # it was refused in the middle
            return
        socket.transport.write(piece)
        await asyncio.sleep(0)
    await socket.drain()


async def _read(socket: ClientConnection, visit: Visit, pause_s: float) -> None:
    """Until the session is over."""
    try:
        while True:
            message = await socket.recv()
            if isinstance(message, str):
                event = orjson.loads(message)
                visit.errors += event["type"] == "error" and "turn" not in event
                visit.news.set()
            await asyncio.sleep(pause_s)
    except ConnectionClosed as closed:
        visit.close = closed.rcvd
        visit.is_lost = closed.rcvd is None and not visit.gave_up
    finally:
        visit.news.set()
