"""What both wires of a voice session share: pace, deadlines and goodbyes of one WebSocket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NoReturn

from fastapi import WebSocket
from pydantic_core import ErrorDetails
from starlette.websockets import WebSocketDisconnect

from services.sophia.events import Error, Event
from services.sophia.metrics import FAULTS
from services.sophia.outbox import Outbox
from services.sophia.session import Session
from shared.audio import BYTES_PER_SAMPLE, duration_s
from shared.deadline import Deadline
from shared.errors import Overloaded

SEND_DEADLINE_S = 10.0
"""A client that takes nothing for this long is gone."""
FLUSH_DEADLINE_S = 1.0

# What one client may ask of all others' event loop: seconds of real time, of which it has BURST_S
# at first and gets SPEED a second. Beyond that it is read more slowly, which TCP tells it.
BURST_S, SPEED = 15.0, 2.0
MESSAGE_S = 0.002
TURN_S = 0.25
SLICE_S = 0.1
"""Audio is heard in pieces of this length, between which others have their turn."""
AT_ONCE_S = 0.005
"""Messages that are taken up closer than this were waiting behind each other."""

# RFC 6455 and its registry, and three of our own from the range that is left to applications
CLOSE_NORMAL, CLOSE_POLICY, CLOSE_INTERNAL, CLOSE_RESTART, CLOSE_BUSY = 1000, 1008, 1011, 1012, 1013
CLOSE_EXPIRED, CLOSE_IDLE, CLOSE_TOO_LONG = 4401, 4408, 4409


class EndedError(Exception):
    """The connection is over, with this close code."""

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.reason = reason


class Activity:
    """When something was sent last, either way, on the monotonic clock."""

    def __init__(self) -> None:
        self.at = time.monotonic()

    def note(self) -> None:
        self.at = time.monotonic()


class Pace:
    """Holds back a client that sends faster than anybody speaks."""

    def __init__(self) -> None:
        self._left_s = BURST_S
        self._at = time.monotonic()

    async def spend(self, seconds: float) -> None:
        now = time.monotonic()
        since_s = now - self._at
        self._left_s = min(BURST_S, self._left_s + since_s * SPEED) - seconds
        self._at = now
        if self._left_s < 0:
            await asyncio.sleep(-self._left_s / SPEED)
        elif since_s < AT_ONCE_S:  # the others come in between; a client that keeps time need not go around
            await asyncio.sleep(0)


async def hear(session: Session, data: bytes, rate: int, pace: Pace) -> None:
    """One message of microphone audio, in slices, at the pace of this client."""
    step = int(rate * SLICE_S) * BYTES_PER_SAMPLE
    for start in range(0, max(1, len(data)), step):
        piece = data[start : start + step]
        await pace.spend(MESSAGE_S + duration_s(piece, rate))
        session.audio(piece)


async def write(outbox: Outbox, send: Callable[[Event], Awaitable[None]]) -> NoReturn:
    """Everything that the outbox is given, for as long as the client takes it."""
    try:
        async with Deadline(SEND_DEADLINE_S) as deadline:
            while True:
                event = await outbox.get()
                with deadline:
                    await send(event)
    except TimeoutError:
        raise EndedError(CLOSE_POLICY, "the client does not read") from None
    except Overloaded as error:
        raise EndedError(CLOSE_POLICY, str(error)) from None
    except RuntimeError:  # starlette's word for a socket that is closed already
        raise WebSocketDisconnect(1006) from None


async def flush(outbox: Outbox) -> None:
    """Wait until what is there is sent, but not for a client that does not read."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FLUSH_DEADLINE_S):
            await outbox.until_empty()


async def say_goodbye(outbox: Outbox, error: Error, code: int) -> NoReturn:
    FAULTS.labels(error.code).inc()
    outbox.put(error)
    await flush(outbox)
    raise EndedError(code, error.message)


async def close(socket: WebSocket, code: int, reason: str = "") -> None:
    """Say goodbye; a client that is gone, or takes nothing any more, is not waited for."""
    with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
        async with asyncio.timeout(FLUSH_DEADLINE_S):
            await socket.close(code, reason)


def complaint(problem: ErrorDetails) -> str:
    """In words for the client's developer; never repeats what it was sent."""
    if problem["type"] == "union_tag_invalid":  # whose own message quotes what it was sent
        return f"type: must be one of {problem['ctx']['expected_tags']}"
    return (".".join(map(str, problem["loc"])) + f": {problem['msg']}").lstrip(": ")
