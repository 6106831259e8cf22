"""Follow, over the wire: what a caller says of its sound reaches those who watch."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from websockets.asyncio.client import ClientConnection, connect

from shared.wire.aurora.v1 import aurora_pb2
from tests.fixtures import face
from tests.fixtures.face import AuroraServer
from tests.services.aurora.conftest import END, animate, audio, start

if TYPE_CHECKING:  # the stubs know the kind for asyncio, the module does not
    from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraAsyncStub

Position = aurora_pb2.Position


async def until(viewer: ClientConnection, kind: str, **fields: Any) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            message: dict[str, Any] = json.loads(await viewer.recv())
            if message["type"] == kind and fields.items() <= message.items():
                return message


def watch(aurora: AuroraServer, session: str) -> Any:
    return connect(f"{aurora.http.replace('http', 'ws')}/aurora/frames?session={session}")


async def test_an_interruption_reaches_the_viewers_after_the_call_has_ended(
    aurora: AuroraServer, stub: AuroraAsyncStub
) -> None:
    async with watch(aurora, "cut") as viewer:
        await aurora.metrics.becomes(lambda m: m.value("voxloop_aurora_viewers") == 1)
        for turn in range(1, 51):  # what was interrupted once, works once more
            follow = stub.Follow()
            await follow.write(Position(session_id="cut", turn=turn, paused=True))
            assert (await animate(stub, [start(session="cut", turn=turn), *audio(face.vowel(1)), END])).done
            await follow.write(Position(session_id="cut", turn=turn, played_ms=400))
            await until(viewer, "animation", turn=turn)
            follow.cancel()
            await until(viewer, "animation.end", turn=turn)
            if turn % 25:
                continue
            async with asyncio.timeout(30):
                while max((await until(viewer, "animation.rest"))["weights"]) > 0.01:
                    pass


async def test_who_heard_all_of_it_interrupts_nothing(aurora: AuroraServer, stub: AuroraAsyncStub) -> None:
    async with watch(aurora, "whole") as viewer:
        await aurora.metrics.becomes(lambda m: m.value("voxloop_aurora_viewers") == 1)
        follow = stub.Follow()
        await follow.write(Position(session_id="whole", turn=1, paused=True))
        await animate(stub, [start(session="whole"), *audio(face.vowel(0.5)), END])
        await follow.write(Position(session_id="whole", turn=1))
        await follow.write(Position(session_id="whole", turn=1, ended=True))
        assert await follow == aurora_pb2.Followed()
        while (await until(viewer, "animation", turn=1))["t_ms"] < 250:
            pass  # an interruption would have shut the mouth by then
        await until(viewer, "animation.end")


@pytest.mark.parametrize("played_ms", [-1.0, float("nan"), float("inf")])
async def test_a_position_that_is_none_is_refused(stub: AuroraAsyncStub, played_ms: float) -> None:
    async def positions() -> Any:
        yield Position(session_id="odd", turn=1, played_ms=played_ms)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Follow(positions())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
