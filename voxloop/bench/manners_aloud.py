"""A caller who asks aloud, one question after the other, where the engines are bench loop's: their answers
are known."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass

from shared.audio import BYTES_PER_SAMPLE, RATE
from shared.errors import PeerTimeout, VoxloopError
from voxloop.bench.loop_marks import SIZE, Mark
from voxloop.bench.manners_caller import Caller, Turn

REPLY_MS = 1000
GAP_S = (0.2, 0.6)
"""Between a reply and the next question."""
PATIENCE_S = 6.0
"""How long somebody who was told of a fault waits before asking again."""


@dataclass(frozen=True)
class Asked:
    """A question, and how it ended."""

    turn: int
    fault: str
    """Empty where the whole reply came, and was right."""
    told: bool = False
    """The client was told of the fault, and that it may ask again."""


async def converse(person: Caller, number: int, speech: bytes, over: asyncio.Event) -> list[Asked]:
    """As session `number`, until `over` is set or the session is lost. Raises nothing for a bad turn."""
    rng = random.Random(number)  # noqa: S311 - moments, not secrets
    asked: list[Asked] = []
    while not over.is_set() and not person.lost:
        asked.append(await _ask(person, number, len(asked) + 1, speech))
        await person.skip()
        await asyncio.sleep(rng.uniform(*GAP_S))
    return asked


async def _ask(person: Caller, number: int, turn: int, speech: bytes) -> Asked:
    marks = [Mark(begins, number, turn, REPLY_MS).encode() for begins in (True, False)]
    turns, faults = len(person.turns), len(person.faults)
    told = False
    try:
        await person.say(marks[0] + speech[: len(speech) - 2 * SIZE] + marks[1])
        await person.until(lambda: len(person.turns) > turns or _told(person, faults))
        if _told(person, faults):  # what was said is not lost: it may be recognised yet
            told = True
            with suppress(PeerTimeout):
                await person.until(lambda: len(person.turns) > turns, PATIENCE_S)
        if len(person.turns) == turns:
            return Asked(turn, "the question was lost", told)
        # An answer that an earlier question gets late, this one interrupts.
        await person.until(lambda: person.turn.is_over and person.turn.spoken is None)
    except PeerTimeout:
        return Asked(turn, "nothing came", told)
    except VoxloopError as error:
        return Asked(turn, str(error))
    return _judged(person.turn, number, turn, told=told)


def _told(person: Caller, faults: int) -> bool:
    return any(fault["retryable"] for fault in person.faults[faults:])


def _judged(reply: Turn, number: int, turn: int, *, told: bool) -> Asked:
    if reply.error is not None:
        return Asked(turn, reply.error["code"], bool(reply.error["retryable"]))
    right = f"session {number} turn {turn} for {REPLY_MS} it is, and this is how it goes on."
    if "".join(reply.pieces).strip() != right:
        return Asked(turn, "another answer", told)
    if len(reply.pcm) < REPLY_MS * RATE // 1000 * BYTES_PER_SAMPLE:
        return Asked(turn, "too little sound", told)
    return Asked(turn, "")
