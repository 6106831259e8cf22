"""Riva, nova and aurora die by SIGKILL, again and again, under people who talk; each comes back at once.

The engines are bench loop's, and the face is the embedded one: what is measured is how the loop bears it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack

from voxloop.bench.loop import speech
from voxloop.bench.manners_aloud import Asked, converse
from voxloop.bench.manners_caller import Caller, caller
from voxloop.bench.manners_log import unhandled
from voxloop.bench.manners_quarters import quarters
from voxloop.bench.report import Figures, Row
from voxloop.supervisor import Supervisor

MORTAL = ("riva", "nova", "aurora")
APART_S = (0.2, 1.5)
"""From one's return to the next death."""


async def kills(count: int, sessions: int) -> tuple[list[Row], Figures]:
    """A row for each turn that was not whole. Raises StartupError where anything does not (re)start."""
    over = asyncio.Event()
    async with quarters() as home, AsyncExitStack() as stack:
        people = [
            await stack.enter_async_context(caller(home.voice_url, animation=True)) for _ in range(sessions)
        ]
        sound = speech()
        talking = [
            asyncio.create_task(converse(person, number, sound, over))
            for number, person in enumerate(people, 1)
        ]
        try:
            dead = await _kill(home.supervisor, count)
        finally:
            over.set()
        asked = [turn for turns in await asyncio.gather(*talking) for turn in turns]
        faults = unhandled(home.log())
    return _rows(asked, people), figures(dead, asked, people) | {"unhandled": faults}


def figures(dead: Counter[str], asked: list[Asked], people: list[Caller]) -> Figures:
    return {
        "kills": dead.total(),
        **{f"kills_{name}": dead[name] for name in MORTAL},
        "kills_turns": len(asked),
        "turns_told": sum(turn.fault != "" and turn.told for turn in asked),
        "turns_unanswered": sum(turn.fault != "" and not turn.told for turn in asked),
        "sessions_lost": sum(person.lost != "" for person in people),
    }


def _rows(asked: list[Asked], people: list[Caller]) -> list[Row]:
    rows: list[Row] = [
        {"part": "kills", "what": turn.fault, "turn": turn.turn, "told": turn.told}
        for turn in asked
        if turn.fault
    ]
    return rows + [{"part": "kills", "what": person.lost} for person in people if person.lost]


async def _kill(supervisor: Supervisor, count: int) -> Counter[str]:
    rng = random.Random(count)  # noqa: S311 - moments, not secrets
    dead: Counter[str] = Counter()
    while dead.total() < count:
        await asyncio.sleep(rng.uniform(*APART_S))
        name = rng.choice(MORTAL)
        await supervisor.kill(name)
        await supervisor.restart(name)
        dead[name] += 1
    return dead
