"""Frames as an Unreal on the network gets them, and what an absent one costs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import orjson
import pytest
from prometheus_client import REGISTRY

from services.aurora.livelink import LiveLink
from services.aurora.livelink_packet import SHAPES, Host
from services.aurora.viewers import Viewer
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
    async with asyncio.timeout(30):
        return [parse(await asyncio.get_running_loop().sock_recv(sock, 2048)) for _ in range(count)]


def faults(host: str) -> float:
    return REGISTRY.get_sample_value("voxloop_aurora_livelink_faults_total", {"host": host}) or 0.0


async def test_unreal_gets_the_frames_and_then_a_resting_face(
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
                    packets = await received(there, 1)
                    while packets[-1].values[JAW] or max(p.values[JAW] for p in packets) < 0.3:
                        packets += await received(there, 1)
                    jaws = {round(packet.values[JAW], 4) for packet in packets}
                    assert jaws <= {0.0, *(round(weight, 4) for weight in shown.shape("JawOpen"))}
                    assert {p.subject for p in packets} == {"Ada"}
            for host in (nobody, "nowhere.invalid:11111"):
                assert server.metrics.value("voxloop_aurora_livelink_faults_total", host=host) >= 2
    log = (tmp_path / "aurora.log").read_text()
    assert log.count(f"cannot reach {nobody} ") == 1
    assert log.count("cannot reach nowhere.invalid:11111 ") == 1


async def test_the_newest_turn_has_the_face() -> None:
    with unreal() as there:
        link = LiveLink((Host("127.0.0.1", there.getsockname()[1]),), "Ada")
        viewer = Viewer(None, 64)
        showing = asyncio.create_task(link.run(viewer))
        for kind, session, fields in [
            ("animation.header", "a", {"names": ["JawOpen"]}),
            ("animation", "a", {"in_ms": 0.0, "weights": [0.25]}),
            ("animation", "a", {"in_ms": 60_000.0, "weights": [0.9]}),  # the next turn takes its place
            ("animation.header", "b", {"names": ["MouthClose", "JawOpen"]}),
            ("animation", "a", {"in_ms": 0.0, "weights": [0.9]}),
            ("animation.rest", "a", {"weights": [0.9]}),
            ("animation.clock", "b", {"running": True}),
            ("animation", "b", {"in_ms": 0.0, "weights": [0.0, 0.5]}),
        ]:
            viewer.offer(orjson.dumps({"type": kind, "session": session, "turn": 1} | fields))
        packets = await received(there, 1)
        while packets[-1].values[JAW] != 0.5:
            packets += await received(there, 1)
        viewer.offer(orjson.dumps({"type": "animation.rest", "session": "b", "turn": 1, "weights": [0, 0]}))
        packets += await received(there, 1)
        assert not {0.9} & {round(packet.values[JAW], 3) for packet in packets}
        assert packets[-1].values[JAW] == 0
        showing.cancel()
        await asyncio.wait([showing])


async def test_a_host_that_comes_late_is_found_and_its_next_absence_named_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    host = f"127.0.0.1:{port}"
    viewer = Viewer(None, 64)

    async def speak(number: int) -> None:
        header = {"type": "animation.header", "names": ["JawOpen"]}
        frame = {"type": "animation.rest", "weights": [1.0]}
        for message in (header, frame, frame, frame):
            viewer.offer(orjson.dumps(message | {"session": "s", "turn": number}))
        for _ in range(9):
            await asyncio.sleep(0.001)  # what the kernel says of a datagram comes after it was sent

    showing = asyncio.create_task(LiveLink((Host("127.0.0.1", port),), "Ada").run(viewer))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        while (absent := faults(host)) < 2:
            await speak(0)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as there:
        there.bind(("127.0.0.1", port))
        there.setblocking(False)
        await speak(3)
        await speak(4)
        assert len(await received(there, 5)) == 5
    async with asyncio.timeout(30):
        while faults(host) == absent:
            await speak(5)
    showing.cancel()
    await asyncio.wait([showing])
    assert caplog.text.count(f"cannot reach {host} ") == 2
