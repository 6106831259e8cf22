"""Omniverse Audio2Face, over its own two protocols, as a server here that records and misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from aiohttp import web

from services.aurora.audience import Audience
from services.aurora.bridge import Response, Turn
from services.aurora.classic import AHEAD_S, ClassicAudio2Face, Scene
from services.aurora.settings import AuroraSettings
from services.aurora.viewers import Viewers
from shared.audio import read_wav
from shared.channels import Endpoint
from shared.emotions import EMOTIONS
from shared.errors import InputError, PeerError, PeerProtocol, PeerRefused, PeerTimeout, PeerUnavailable
from shared.process import free_port
from shared.wire.audio2face import classic_pb2 as wire
from shared.wire.audio2face.classic_pb2_grpc import Audio2FaceServicer, add_Audio2FaceServicer_to_server
from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraStub
from tests.fixtures import face
from tests.fixtures.face import aurora_server
from tests.services.aurora.conftest import END, Request, animate, audio, start


@dataclass
class Omniverse(Audio2FaceServicer):
    """What it got, and how it answers."""

    requests: list[wire.PushAudioStreamRequest] = field(default_factory=list)
    posts: list[tuple[str, Any]] = field(default_factory=list)
    answer: wire.PushAudioStreamResponse = field(
        default_factory=lambda: wire.PushAudioStreamResponse(success=True)
    )
    rest: Any = field(default_factory=lambda: {"status": "OK", "message": ""})
    hangs: bool = False
    hasty: bool = False
    led: asyncio.Event = field(default_factory=asyncio.Event)
    """All that may be sent ahead has come."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def PushAudioStream(self, requests: AsyncIterator[Any], _: Any) -> Any:  # type: ignore[override]
        try:
            async for request in requests:
                self.requests.append(request)
                if len(self.sound()) >= 4 * 16000 * AHEAD_S:
                    self.led.set()
                if self.hasty:
                    return self.answer
            if self.hangs:
                await asyncio.Event().wait()
        finally:  # a cancelled call reaches its handler as CancelledError, or as requests that merely stop
            self.over.set()
        return self.answer

    async def http(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            self.posts.append((request.path, await request.json()))
        return web.json_response(self.rest)

    def sound(self) -> bytes:
        return b"".join(request.audio_data for request in self.requests)


@asynccontextmanager
async def serving(omniverse: Omniverse) -> AsyncIterator[tuple[str, str]]:
    """Where it takes sound, and its REST."""
    server = grpc.aio.server()
    add_Audio2FaceServicer_to_server(omniverse, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", omniverse.http)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{port}", f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await server.stop(None)
        await runner.cleanup()


@asynccontextmanager
async def connected(
    omniverse: Omniverse, *, timeout_s: float = 5.0, usd: str = ""
) -> AsyncIterator[ClassicAudio2Face]:
    async with serving(omniverse) as (target, rest):
        scene = Scene(rest, "/Player", "/Core", "/Livelink", usd)
        classic = ClassicAudio2Face(Endpoint("audio2face", target), scene, timeout_s)
        try:
            yield classic
        finally:
            await classic.close()


async def turn(classic: ClassicAudio2Face, *requests: Request, **emotions: float) -> list[Response]:
    """One turn through the bridge."""
    queue, written = list(requests), []

    async def read() -> Request | None:
        return queue.pop(0)

    async def write(response: Response) -> None:
        written.append(response)

    with Viewers(120).turn("s", 1) as view:
        await Turn(start(**emotions).start, AuroraSettings(), read, write).run(classic, Audience(view, None))
    return written


async def test_a_turn_is_a_marker_and_float_samples_in_tenths_of_a_second() -> None:
    omniverse, sound = Omniverse(), face.vowel(0.35)
    async with connected(omniverse) as classic:
        written = await turn(classic, *audio(sound), END)
    marker = omniverse.requests[0].start_marker
    assert (marker.instance_name, marker.samplerate) == ("/Player", 16000)
    floats = np.frombuffer(omniverse.sound(), "<f4")
    assert (floats[:5600] * 32768).astype("<i2").tobytes() == sound
    assert not floats[5600:].any()  # the trailing silence
    assert max(len(request.audio_data) for request in omniverse.requests) == 4 * 1600
    assert [response.WhichOneof("part") for response in written] == ["done"]


async def test_stage_live_link_and_emotion_are_set_by_rest() -> None:
    omniverse = Omniverse()
    async with connected(omniverse, usd="C:/face.usd") as classic:
        await turn(classic, *audio(face.silence(0.1)), END, joy=0.5)
        later = Request()
        later.emotions.values["anger"] = 1.0
        await turn(classic, later, *audio(face.silence(0.1)), END)
    nothing = dict.fromkeys(EMOTIONS, 0.0)
    shown = [body for path, body in omniverse.posts if path == "/A2F/A2E/SetEmotionByName"]
    assert omniverse.posts[:2] == [
        ("/A2F/USD/Load", {"file_name": "C:/face.usd"}),
        ("/A2F/Exporter/ActivateStreamLivelink", {"node_path": "/Livelink", "value": True}),
    ]
    assert [body["emotions"] for body in shown] == [
        nothing | {"joy": 0.5},
        nothing,
        nothing | {"anger": 1.0},
    ]
    assert {body["a2f_instance"] for body in shown} == {"/Core"}
    assert len(omniverse.posts) == 5  # the stage is set up once


async def test_after_an_interruption_little_is_left_to_be_played() -> None:
    omniverse, clock = Omniverse(), asyncio.get_running_loop().time
    async with connected(omniverse) as classic:
        begun = clock()
        async with classic.animate({}) as stream:
            sending = asyncio.create_task(stream.send(face.vowel(60)))
            await asyncio.wait_for(omniverse.led.wait(), 30)
            sending.cancel()
        await asyncio.wait_for(omniverse.over.wait(), 30)
        # no more than would have been played by now, the lead, and one chunk: whatever the machine's load
        assert len(omniverse.sound()) / (4 * 16000) <= clock() - begun + AHEAD_S + 0.1
        await turn(classic, *audio(face.silence(0.1)), END)


@pytest.mark.parametrize(
    ("omniverse", "error", "says"),
    [
        (Omniverse(answer=wire.PushAudioStreamResponse(message="no such prim")), PeerRefused, "no such prim"),
        (Omniverse(hangs=True), PeerTimeout, "does not say"),
        (Omniverse(hasty=True), PeerProtocol, "before the sound had ended"),
        (Omniverse(rest={"status": "ERROR"}), PeerRefused, "ActivateStreamLivelink"),
        (Omniverse(rest=[1]), PeerRefused, "ActivateStreamLivelink"),
    ],
    ids=["refuses", "hangs", "ends too early", "REST refuses", "REST lies"],
)
async def test_what_goes_wrong_is_named_and_set_up_again(
    omniverse: Omniverse, error: type[PeerError], says: str
) -> None:
    async with connected(omniverse, timeout_s=0.5) as classic:
        with pytest.raises(error, match=says):
            await turn(classic, *audio(face.silence(0.5)), END)
        omniverse.answer = wire.PushAudioStreamResponse(success=True)
        omniverse.rest, omniverse.hangs, omniverse.hasty = {"status": "OK"}, False, False
        omniverse.posts.clear()
        await turn(classic, *audio(face.silence(0.1)), END)
    assert omniverse.posts[0][0] == "/A2F/Exporter/ActivateStreamLivelink"


async def test_a_fault_of_the_caller_sets_nothing_up_again() -> None:
    omniverse = Omniverse()
    async with connected(omniverse) as classic:
        with pytest.raises(InputError):
            await turn(classic, start())
        omniverse.posts.clear()
        await turn(classic, *audio(face.silence(0.1)), END)
    assert [path for path, _ in omniverse.posts] == ["/A2F/A2E/SetEmotionByName"]


async def test_the_probe_asks_both_of_its_ports() -> None:
    async with connected(Omniverse()) as classic:
        await classic.probe()


async def test_nobody_there_is_told_as_such() -> None:
    scene = Scene("", "/Player", "/Core", "", "")
    classic = ClassicAudio2Face(Endpoint("audio2face", f"127.0.0.1:{free_port()}"), scene, 0.5)
    with pytest.raises(PeerUnavailable, match="nobody answers"):
        await classic.probe()
    with pytest.raises(PeerUnavailable):
        await turn(classic, *audio(face.silence(0.1)), END)
    await classic.close()


async def test_of_its_sessions_the_voice_is_recorded_and_aurora_says_that_it_is_alone(tmp_path: Path) -> None:
    takes, sound = tmp_path / "takes", face.vowel(0.5)
    async with serving(Omniverse()) as (target, rest):
        with aurora_server(
            tmp_path, target, a2f_contract="classic", a2f_rest=rest, record=str(takes)
        ) as aurora:
            async with grpc.aio.insecure_channel(aurora.target) as channel:
                shown = await animate(AuroraStub(channel), [start(), *audio(sound), END])
    assert (shown.done, shown.names) == (0, [])
    (wav,) = takes.iterdir()
    assert read_wav(wav) == sound
    assert "AURORA_RECORD keeps the voice alone" in (tmp_path / "aurora.log").read_text()
