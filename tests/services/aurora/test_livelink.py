"""Frames as an Unreal on the network gets them, and what an absent one costs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import pytest
from prometheus_client import REGISTRY

from services.aurora.livelink import LiveLink
from services.aurora.livelink_packet import SHAPES, Host
from services.aurora.viewers import Viewers
from shared.process import free_port
from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraStub
from tests.fixtures import face
from tests.fixtures.face import Audio2FaceServer, aurora_server
from tests.services.aurora.conftest import END, animate, audio, start
from tests.services.aurora.test_livelink_packet import Packet, parse

if TYPE_CHECKING:  # the stubs know the kind for asyncio, the module does not
    from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraAsyncStub

JAW = SHAPES.index("JawOpen")


@contextmanager
def unreal() -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


async def received(sock: socket.socket, count: int) -> list[Packet]:
    async with asyncio.timeout(10):
        return [parse(await asyncio.get_running_loop().sock_recv(sock, 2048)) for _ in range(count)]


def faults(host: str) -> float:
    return REGISTRY.get_sample_value("voxloop_aurora_livelink_faults_total", {"host": host}) or 0.0


async def test_unreal_gets_each_frame_and_then_a_resting_face(
    tmp_path: Path, audio2face: Audio2FaceServer
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with unreal() as there:
        hosts = f"{nobody},127.0.0.1:{there.getsockname()[1]},nowhere.invalid"
        with aurora_server(tmp_path, audio2face.target, livelink=hosts, livelink_subject="Ada") as server:
            async with grpc.aio.insecure_channel(server.target) as channel:
                stub: AuroraAsyncStub = AuroraStub(channel)
                for turn in range(3):
                    shown = await animate(stub, [start(turn=turn), *audio(face.vowel(1)), END])
                    packets = await received(there, 31)
                    assert [p.values[JAW] for p in packets[:30]] == pytest.approx(
                        shown.shape("JawOpen"), abs=1e-4
                    )
                    assert set(packets[30].values) == {0.0}
                    assert {p.subject for p in packets} == {"Ada"}
            for host in (nobody, "nowhere.invalid:11111"):
                assert server.metrics.value("voxloop_aurora_livelink_faults_total", host=host) >= 2
    log = (tmp_path / "aurora.log").read_text()
    assert log.count(f"cannot reach {nobody} ") == 1
    assert log.count("cannot reach nowhere.invalid:11111 ") == 1


@pytest.fixture
async def link() -> AsyncIterator[tuple[Viewers, socket.socket]]:
    viewers = Viewers()
    with unreal() as there, viewers.watching(None, 64) as viewer:
        showing = asyncio.create_task(
            LiveLink((Host("127.0.0.1", there.getsockname()[1]),), "Ada").run(viewer)
        )
        yield viewers, there
        showing.cancel()
        await asyncio.wait([showing])


async def test_the_newest_turn_has_the_face(link: tuple[Viewers, socket.socket]) -> None:
    viewers, there = link
    with viewers.turn("a", 1) as older:
        older.header(("JawOpen",), 30)
        older.frame(0.0, (0.25,))
        with viewers.turn("b", 1) as newer:
            newer.header(("MouthClose", "JawOpen"), 30)
            older.frame(33.0, (0.9,))
            newer.frame(0.0, (0.0, 0.5))
    first, second, rest = await received(there, 3)
    assert (first.values[JAW], second.values[JAW], rest.values[JAW]) == (0.25, 0.5, 0.0)
    with pytest.raises(BlockingIOError):
        there.recv(2048)  # the end of the older turn moves nothing


async def test_a_host_that_comes_late_is_found_and_its_next_absence_named_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    host = f"127.0.0.1:{port}"
    viewers = Viewers()

    async def speak(number: int) -> None:
        with viewers.turn("s", number) as view:
            view.header(("JawOpen",), 30)
            for frame in range(3):
                view.frame(frame * 33.3, (1.0,))
        for _ in range(9):
            await asyncio.sleep(0.001)  # what the kernel says of a datagram comes after it was sent

    with viewers.watching(None, 64) as viewer:
        showing = asyncio.create_task(LiveLink((Host("127.0.0.1", port),), "Ada").run(viewer))
        await asyncio.sleep(0)
        for number in range(3):
            await speak(number)
        absent = faults(host)
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as there:
            there.bind(("127.0.0.1", port))
            there.setblocking(False)
            await speak(3)
            await speak(4)
            assert len(await received(there, 7)) == 7
        assert absent >= 2
        for number in range(5, 8):
            await speak(number)
        showing.cancel()
        await asyncio.wait([showing])
    assert faults(host) > absent
    assert caplog.text.count(f"cannot reach {host} ") == 2
