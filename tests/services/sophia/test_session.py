"""One conversation: in whatever order things happen, a turn that is over stays over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.sophia.answers import Answers
from services.sophia.engines import Engines
from services.sophia.events import Error, Event, Interrupted, ReplyStarted, SpeechStarted
from services.sophia.face import Face
from services.sophia.history import History, Message
from services.sophia.outbox import Outbox
from services.sophia.riva import Riva
from services.sophia.session import Session
from services.sophia.session_config import SessionConfig
from services.sophia.settings import SophiaSettings
from services.sophia.tools import Toolbox
from shared.audio import RATE, read_wav
from shared.channels import Endpoint
from tests.conftest import ROOT
from tests.services.sophia.engines import Scripted


class OverError(Exception):
    pass


@asynccontextmanager
async def conversation(
    engines: Scripted, config: SessionConfig | None = None
) -> AsyncIterator[tuple[Session, Outbox]]:
    """A session on no wire, so that a test may choose the very step at which something happens."""
    peers = Engines(
        Riva(Endpoint("riva", engines.addresses["riva"]), 5),
        Answers(Endpoint("nova", engines.addresses["nova"]), "", 5, 5),
        Face(Endpoint("aurora", engines.addresses["aurora"])),
        Toolbox(None, None, 1000),
    )
    outbox = Outbox()
    try:
        async with asyncio.TaskGroup() as tasks:
            yield (
                Session(config or SessionConfig(), peers, SophiaSettings(), History(1000), outbox, tasks),
                outbox,
            )
            raise OverError
    except* OverError:
        pass
    for peer in (peers.riva, peers.answers, peers.face, peers.toolbox):
        await peer.close()


async def emitted(outbox: Outbox) -> list[Event]:
    outbox.put(ReplyStarted(-1))
    events: list[Event] = []
    while (event := await outbox.get()) != ReplyStarted(-1):
        events.append(event)
    return events


def reply_task() -> asyncio.Task[None]:
    (task,) = (task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "Reply._run")
    return task


async def test_a_turn_that_fails_while_it_is_interrupted_ends_once(engines: Scripted) -> None:
    engines.nova.fail_after = 1
    async with conversation(engines) as (session, outbox):
        session.text("hello")
        task = reply_task()
        # No event tells of this moment: the failure has come, and the group of its tasks is wound up.
        while not task.cancelling():  # noqa: ASYNC110
            await asyncio.sleep(0)
        session.cancel()
        await asyncio.wait([task])
        events = await emitted(outbox)
        assert [event for event in events if isinstance(event, Interrupted | Error)] == [
            Interrupted(1, "", 0)
        ]
        assert session.history.messages == [Message("user", "hello")]


async def test_a_session_that_only_tells_what_is_said_is_calm_behind_it(engines: Scripted) -> None:
    speech = read_wav(ROOT / "samples" / "question.wav")[RATE * 2 * 4 // 10 :]
    async with conversation(engines, SessionConfig(answers=False)) as (session, outbox):
        session.audio(speech[:RATE])
        assert await outbox.get() == SpeechStarted()
        await engines.recognition.opened()
        engines.recognition.final("what time is it")
        await asyncio.wait_for(session.until_calm(), 30)
