"""Who watches the face over /aurora/frames, and that nobody who watches slows it down."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio
import httpx
import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from services.aurora.viewers import MAX_RESTING, Viewer, Viewers
from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraStub
from tests.fixtures import face
from tests.fixtures.face import Audio2FaceServer, AuroraServer, aurora_server
from tests.services.aurora.conftest import END, Request, animate, audio, start

if TYPE_CHECKING:  # the stubs know the kind for asyncio, the module does not
    from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraAsyncStub


UPGRADE = (
    b"GET /aurora/frames HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def watch(aurora: AuroraServer, session: str | None = None) -> Any:
    query = f"?session={session}" if session else ""
    return connect(f"{aurora.http.replace('http', 'ws')}/aurora/frames{query}")


async def watching(aurora: AuroraServer, count: int) -> None:
    await aurora.metrics.becomes(lambda m: m.value("voxloop_aurora_viewers") == count)


async def until_end(viewer: ClientConnection, session: str | None = None) -> list[dict[str, Any]]:
    """Of this session where one is named: who watches all sees the neighbours' as well."""
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while (
            not messages
            or messages[-1]["type"] != "animation.end"
            or session not in {None, messages[-1]["session"]}
        ):
            messages.append(json.loads(await viewer.recv()))
    return messages


async def test_a_viewer_sees_what_the_caller_gets(tmp_path: Path, audio2face: Audio2FaceServer) -> None:
    in_no_hurry = aurora_server(tmp_path, audio2face.target, viewer_buffer_ms="60000")
    with in_no_hurry as aurora:  # a frame that is late is left out
        async with grpc.aio.insecure_channel(aurora.target) as channel, watch(aurora, "seen") as viewer:
            await watching(aurora, 1)
            stub: AuroraAsyncStub = AuroraStub(channel)
            shown = await animate(stub, [start(session="seen", turn=7), *audio(face.vowel(1)), END])
            header, *frames, last = await until_end(viewer)
        await watching(aurora, 0)
    assert header == {
        "type": "animation.header", "session": "seen", "turn": 7, "names": shown.names, "fps": 30,
    }  # fmt: skip
    frames = [message for message in frames if message["type"] == "animation"]
    assert {frame["turn"] for frame in frames} == {7}
    assert [frame["t_ms"] for frame in frames] == [round(t_ms, 3) for t_ms in shown.times_ms]
    assert all(
        frame["weights"] == pytest.approx(shown.weights[round(frame["t_ms"] * 0.03)], abs=1e-4)
        for frame in frames
    )
    assert last == {"type": "animation.end", "session": "seen", "turn": 7}


async def test_a_viewer_of_one_session_sees_no_other_and_one_of_all_sees_both(
    aurora: AuroraServer, stub: AuroraAsyncStub
) -> None:
    async with watch(aurora, "mine") as of_mine, watch(aurora) as of_all:
        await watching(aurora, 2)
        await animate(stub, [start(session="other"), *audio(face.vowel(0.5)), END])
        everything = await until_end(of_all, "other")
        await animate(stub, [start(session="mine"), *audio(face.vowel(0.5)), END])
        mine = await until_end(of_mine)
        everything += await until_end(of_all, "mine")
    assert {message["session"] for message in mine} == {"mine"}
    ended = [message["session"] for message in everything if message["type"] == "animation.end"]
    assert [session for session in ended if session in {"mine", "other"}] == ["other", "mine"]


async def test_who_comes_in_the_middle_of_a_turn_gets_its_names_first(
    aurora: AuroraServer, stub: AuroraAsyncStub
) -> None:
    call = stub.Animate(timeout=30)
    await call.write(start(session="long"))
    await call.write(Request(audio=face.vowel(1)))
    await call.read()
    async with watch(aurora, "long") as viewer:
        await watching(aurora, 1)
        await call.write(Request(audio=face.vowel(1)))
        first, second = json.loads(await viewer.recv()), json.loads(await viewer.recv())
        assert (first["type"], second["type"]) == ("animation.header", "animation.clock")
        call.cancel()
        assert (await until_end(viewer))[-1]["turn"] == 1


async def test_viewers_beyond_the_bound_are_told_to_come_later(
    tmp_path: Path, audio2face: Audio2FaceServer
) -> None:
    with aurora_server(tmp_path, audio2face.target, max_viewers="1") as server:
        async with watch(server), watch(server) as too_many:
            with pytest.raises(ConnectionClosed) as caught:
                await too_many.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1013


async def test_a_viewer_that_stops_reading_slows_no_turn_and_is_let_go(
    tmp_path: Path, audio2face: Audio2FaceServer
) -> None:
    with aurora_server(
        tmp_path, audio2face.target, viewer_timeout_s="0.2", viewer_buffer_ms="60000"
    ) as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            stub: AuroraAsyncStub = AuroraStub(channel)
            with closing(socket.socket()) as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # little fits between it and us
                deaf.connect(("127.0.0.1", httpx.URL(server.http).port or 0))
                deaf.sendall(UPGRADE)
                await watching(server, 1)
                turn = [start(session="x" * 20_000), *audio(face.vowel(10)), END]  # is in every message
                while server.metrics.value("voxloop_aurora_viewers"):
                    assert (await animate(stub, turn)).done == 300
                assert server.metrics.value("voxloop_aurora_viewer_drops_total") > 0
    assert "a viewer took nothing for 0.2 s and is let go" in (tmp_path / "aurora.log").read_text()


async def test_what_a_viewer_says_is_ignored(aurora: AuroraServer, stub: AuroraAsyncStub) -> None:
    async with watch(aurora, "rude") as viewer:
        await watching(aurora, 1)
        await viewer.send("{garbage")
        await viewer.send(b"\0\1\2")
        await animate(stub, [start(session="rude"), *audio(face.vowel(0.2)), END])
        assert (await until_end(viewer))[-1]["session"] == "rude"


def dropped() -> float:
    return REGISTRY.get_sample_value("voxloop_aurora_viewer_drops_total") or 0.0


async def test_a_slow_viewer_loses_the_oldest_and_they_are_counted() -> None:
    before = dropped()
    viewer = Viewer(None, capacity=3)
    for number in range(5):
        viewer.offer(str(number).encode())
    assert [await viewer.next() for _ in range(3)] == [b"2", b"3", b"4"]
    assert dropped() == before + 2


async def test_a_turn_that_never_began_ends_without_a_word() -> None:
    viewers = Viewers(120)
    with viewers.watching(None, 8) as viewer, viewers.turn("s", 1):
        pass
    assert not viewer.waiting
    viewers.close()


async def test_who_comes_after_a_turn_is_over_is_told_nothing_of_it() -> None:
    viewers = Viewers(120)
    with suppress(asyncio.CancelledError), viewers.turn("s", 1) as view:
        view.header(("JawOpen",))
        view.frame(0.0, (0.5,))
        raise asyncio.CancelledError
    with viewers.watching("s", 8) as viewer:
        assert not viewer.waiting


async def test_resting_faces_are_bounded() -> None:
    viewers = Viewers(120)
    with viewers.watching(None, 8) as viewer:
        for number in range(MAX_RESTING + 5):
            viewers.follow(str(number), 1, 0.0, paused=False)
        assert len(viewers._stages) == MAX_RESTING
        assert not viewer.waiting
    viewers.close()
