from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from services.nova.http_stream import ClientGone, Emit, EventStream, WhileConnected


class Client:
    """The receiving half of an ASGI connection."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_the_block_runs_to_its_end_while_the_client_stays() -> None:
    async with WhileConnected(Client().receive):
        done = await asyncio.sleep(0, "done")
    assert done == "done"


async def test_a_client_that_leaves_cancels_the_block() -> None:
    async def block() -> None:
        client = Client()
        async with WhileConnected(client.receive):
            client.left.set()
            await asyncio.Event().wait()

    with pytest.raises(ClientGone):
        await block()
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0  # and the task may go on


async def test_a_client_that_leaves_cancels_what_the_block_started() -> None:
    started: list[asyncio.Task[bool]] = []

    async def block() -> None:
        client = Client()
        async with WhileConnected(client.receive), asyncio.TaskGroup() as group:
            started.extend(group.create_task(asyncio.Event().wait()) for _ in range(2))
            client.left.set()

    with pytest.raises(ClientGone):
        await block()
    assert all(task.cancelled() for task in started)


async def test_a_cancellation_from_outside_is_no_client_gone() -> None:
    async def block() -> None:
        async with WhileConnected(Client().receive):
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_block_stays_itself() -> None:
    async def block() -> None:
        async with WhileConnected(Client().receive):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await block()


async def test_a_deadline_inside_the_block_stays_a_deadline() -> None:
    async def block() -> None:
        async with WhileConnected(Client().receive), asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await block()


async def test_a_client_that_takes_nothing_is_taken_for_gone() -> None:
    ended = asyncio.Event()

    async def send(_: Message) -> None:
        await asyncio.Event().wait()

    async def produce(emit: Emit) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(emit(b"data: 1\n\n"))
                group.create_task(asyncio.Event().wait())
        finally:
            ended.set()

    async with asyncio.timeout(30):
        await EventStream(produce, stalled_s=0.01)({"type": "http"}, Client().receive, send)
    assert ended.is_set()


async def test_a_client_that_several_find_gone_is_gone_once() -> None:
    async def block() -> None:
        async with WhileConnected(Client().receive) as connection:
            connection.give_up()
            connection.give_up()
            await asyncio.Event().wait()

    with pytest.raises(ClientGone):
        await block()
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0
