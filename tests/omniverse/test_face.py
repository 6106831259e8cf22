"""The face on a stage, from a real aurora with the real face engine behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import pytest
from pxr import Tf, Usd, UsdSkel

from shared.process import free_port
from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraStub
from tests.fixtures import face
from tests.fixtures.face import Audio2FaceServer, AuroraServer, aurora_server
from tests.omniverse.conftest import ROOT
from tests.services.aurora.conftest import END, Request, audio, start
from voxloop_face.face import Face
from voxloop_face.feed import Aurora

if TYPE_CHECKING:  # the stubs know the kind for asyncio, the module does not
    from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraAsyncStub


ANIMATION = f"{ROOT}/Skeleton/VoxloopFace"


class Jaw:
    """How far the stage's jaw was open, each time that it changed; USD tells nobody of a value that stays."""

    def __init__(self, stage: Usd.Stage) -> None:
        self.stage = stage
        self.seen = [0.0]

    def note(self, *_: object) -> None:
        if self.stage.GetPrimAtPath(ANIMATION):
            weights = UsdSkel.Animation.Get(self.stage, ANIMATION).GetBlendShapeWeightsAttr().Get()
            self.seen = steps([*self.seen, weights[0]])


def steps(values: Sequence[float]) -> list[float]:
    return [value for value, _ in groupby(round(value, 4) for value in values)]


@contextmanager
def showing(stage: Usd.Stage, aurora: Aurora) -> Iterator[tuple[Face, Jaw, list[str]]]:
    lines: list[str] = []
    jaw = Jaw(stage)
    shown = Face(aurora, lambda: stage, "", lines.append)
    shown.start()
    key = Tf.Notice.Register(Usd.Notice.ObjectsChanged, jaw.note, stage)
    try:
        yield shown, jaw, lines
    finally:
        key.Revoke()
        shown.stop()


async def test_the_stage_shows_what_aurora_sends_and_rests_after_it(
    stage: Usd.Stage, tmp_path: Path, audio2face: Audio2FaceServer
) -> None:
    with (
        aurora_server(tmp_path, audio2face.target, api_keys="secret-key") as aurora,
        showing(stage, Aurora(aurora.http, "s", "secret-key")) as (shown, jaw, lines),
    ):
        await until(lambda: bool(lines))
        assert lines == [f"connected to {aurora.http}"]
        async with grpc.aio.insecure_channel(aurora.target) as channel:
            stub: AuroraAsyncStub = AuroraStub(channel)
            call = stub.Animate(timeout=30, metadata=(("authorization", "Bearer secret-key"),))
            for request in [start(), *audio(face.vowel(1)), END]:
                await call.write(request)
            got = [message async for message in call]
        index = list(got[0].header.names).index("JawOpen")
        opened = {0.0, *(round(message.frame.weights[index], 4) for message in got[1:31])}
        await until(lambda: max(jaw.seen) > 0.3 and jaw.seen[-1] == 0)
        assert set(jaw.seen) <= opened
        shown.stop()
        assert not stage.GetSessionLayer().subLayerPaths


def enter(server: AbstractContextManager[AuroraServer]) -> AbstractContextManager[AuroraServer]:
    server.__enter__()
    return server


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - lines of a log are no event
            await asyncio.sleep(0.01)


async def test_an_emotion_holds_for_the_turn_and_for_the_next(stage: Usd.Stage, aurora: AuroraServer) -> None:
    async with grpc.aio.insecure_channel(aurora.target) as channel:
        await _mood(stage, aurora, AuroraStub(channel))


async def _mood(stage: Usd.Stage, aurora: AuroraServer, stub: AuroraAsyncStub) -> None:
    with showing(stage, Aurora(aurora.http, "moody")) as (shown, jaw, lines):
        await until(lambda: bool(lines))
        shown.emotion("joy")
        call = stub.Animate(timeout=30)
        await call.write(start(session="moody"))
        await call.write(Request(audio=face.vowel(1)))
        names = list((await call.read()).header.names)
        await until(lambda: len(jaw.seen) > 1)
        await until(lambda: shown._feeling is not None and shown._feeling.done())
        await call.write(Request(audio=face.silence(2)))
        await call.write(END)
        frames = []
        while (message := await call.read()) is not grpc.aio.EOF:
            frames.append(message.frame.weights)
    assert frames[80][names.index("MouthSmileLeft")] > 0.1
    assert len(lines) == 1, lines


async def test_an_aurora_that_is_not_there_is_named_once_and_found_when_it_comes(
    stage: Usd.Stage, tmp_path: Path, audio2face: Audio2FaceServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxloop_face.feed.FIRST_WAIT_S", 0.05)
    monkeypatch.setattr("voxloop_face.feed.LONGEST_WAIT_S", 0.2)
    port = free_port()
    with showing(stage, Aurora(f"http://127.0.0.1:{port}")) as (_, _, lines):
        await until(lambda: bool(lines))
        assert lines[0].startswith(f"no face from http://127.0.0.1:{port}: ")
        server = await asyncio.to_thread(
            enter, aurora_server(tmp_path, audio2face.target, http_port=str(port))
        )
        try:
            await until(lambda: len(lines) == 2)
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)
        assert lines[1] == f"connected to http://127.0.0.1:{port}"
        await until(lambda: len(lines) == 3)


async def test_without_a_stage_or_a_face_start_says_so(stage: Usd.Stage) -> None:
    lines: list[str] = []
    for empty in (None, Usd.Stage.CreateInMemory()):
        shown = Face(Aurora(), lambda empty=empty: empty, "", lines.append)
        shown.start()
        assert not shown.running
    assert "no stage is open" in lines[0]
    assert "no mesh with blend shapes" in lines[1]
