"""Riva, nova and aurora die by SIGKILL, again and again, under people who talk; each comes back at once.

The engines are bench loop's, and the face is the embedded one: what is measured is how the loop bears it.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import orjson

from shared.errors import PeerUnavailable
from shared.process import free_port
from voxloop.bench.loop import ENGINES_MODULE, free_engines, nova_unit, sophia_unit, speech, supervised
from voxloop.bench.loop_engines import Pace
from voxloop.bench.manners_aloud import Asked, converse
from voxloop.bench.manners_caller import Caller, caller
from voxloop.bench.nova_stack import unit
from voxloop.bench.report import Row
from voxloop.stack import Probe, Unit
from voxloop.supervisor import Supervisor

MORTAL = ("riva", "nova", "aurora")
APART_S = (0.2, 1.5)
"""From one's return to the next death."""


async def kills(count: int, sessions: int) -> tuple[list[Row], dict[str, int]]:
    """A row for each turn that was not whole. Raises StartupError where anything does not (re)start."""
    over = asyncio.Event()
    async with _mortals() as (url, supervisor), AsyncExitStack() as stack:
        people = [await stack.enter_async_context(caller(url, animation=True)) for _ in range(sessions)]
        sound = speech()
        talking = [
            asyncio.create_task(converse(person, number, sound, over))
            for number, person in enumerate(people, 1)
        ]
        try:
            dead = await _kill(supervisor, count)
        finally:
            over.set()
        asked = [turn for turns in await asyncio.gather(*talking) for turn in turns]
        log = supervisor.log_of("sophia").read_text(errors="replace")
    return _rows(asked, people), figures(dead, asked, people) | {
        "kills_unhandled": log.count(" ERROR ") + log.count("Traceback")
    }


def figures(dead: Counter[str], asked: list[Asked], people: list[Caller]) -> dict[str, int]:
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


@asynccontextmanager
async def _mortals() -> AsyncIterator[tuple[str, Supervisor]]:
    """sophia's address for voice sessions, and who can end and restart what it needs."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        async with free_engines(folder, Pace()) as (_, ports), supervised(folder) as supervisor:
            riva, nova_http, nova, aurora_http, aurora, face, http = (free_port() for _ in range(7))
            await supervisor.start(
                [_riva(folder, riva), _face(face), nova_unit(ports["model"], nova_http, nova)]
            )
            await supervisor.start([_aurora(aurora_http, aurora, face)])
            more = {"SOPHIA_AURORA_URI": f"127.0.0.1:{aurora}"}
            await supervisor.start([sophia_unit(riva, folder, nova, http, more)])
            yield f"ws://127.0.0.1:{http}/sophia/voice", supervisor


def _riva(folder: Path, port: int) -> Unit:
    arguments = (str(folder), orjson.dumps(Pace()).decode(), str(port))
    return Unit("riva", ENGINES_MODULE, {}, {}, {}, _listens("riva", port), arguments=arguments)


def _face(port: int) -> Unit:
    env = {"VOXLOOP_FACE_PORT": str(port), "VOXLOOP_FACE_LOG_LEVEL": "warning"}
    return Unit("face", "embedded.face", env, {}, {}, _listens("face", port))


def _aurora(http: int, grpc: int, face: int) -> Unit:
    env = {
        "AURORA_HTTP_PORT": str(http),
        "AURORA_GRPC_PORT": str(grpc),
        "AURORA_A2F_URI": f"127.0.0.1:{face}",
        "AURORA_LOG_LEVEL": "warning",
    }
    return unit("aurora", "services.aurora", env, f"http://127.0.0.1:{http}/healthz")


def _listens(name: str, port: int) -> Probe:
    async def probe() -> None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            raise PeerUnavailable(name, "it does not listen yet") from None
        writer.close()

    return probe
