"""What callers ask for, and what of it reaches Audio2Face."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import grpc.aio
import httpx
import pytest

from services.aurora.emotions import known
from shared.emotions import EMOTIONS
from tests.fixtures import face
from tests.fixtures.face import AuroraServer
from tests.services.aurora.conftest import END, Request, Shown, animate, audio, start

if TYPE_CHECKING:  # the stubs know the kind for asyncio, the module does not
    from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraAsyncStub


def test_known_ones_pass_within_their_range() -> None:
    assert known({"Joy": 1.5, "fear": -1, "neutral": 1}) == {"joy": 1.0, "fear": 0.0}
    assert known(dict.fromkeys(EMOTIONS, 0.5)) == dict.fromkeys(EMOTIONS, 0.5)


def test_others_are_named_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert known({"hunger": 1, "joy": float("nan"), "x" * 999: 1}) == {}
    assert "hunger" in caplog.text
    assert len(caplog.text) < 500


async def test_an_unknown_one_is_counted_and_the_turn_goes_on(
    aurora: AuroraServer, stub: AuroraAsyncStub
) -> None:
    before = aurora.metrics.value("voxloop_aurora_unknown_emotions_total")
    shown = await animate(stub, [start(hunger=1.0), *audio(face.vowel(0.5)), END])
    assert shown.done == 15
    assert aurora.metrics.value("voxloop_aurora_unknown_emotions_total") == before + 1


async def test_a_director_changes_the_emotion_of_those_who_speak(
    aurora: AuroraServer, stub: AuroraAsyncStub
) -> None:
    call = stub.Animate(timeout=30)
    await call.write(start(session="directed"))
    await call.write(Request(audio=face.vowel(1)))
    shown = Shown()
    async with httpx.AsyncClient(base_url=aurora.http) as director:
        while not shown.weights:
            shown.take(await call.read())
        for session, turns in (("directed", 1), ("silent", 0)):
            body = {"session": session, "emotions": {"joy": 1.0}}
            assert (await director.post("/aurora/emotions", json=body)).json() == {"turns": turns}
        refused = await director.post("/aurora/emotions", json={"emotions": {"joy": "much"}})
        assert refused.status_code == 400
    await call.write(Request(audio=face.silence(2)))
    await call.write(END)
    while (message := await call.read()) is not grpc.aio.EOF:
        shown.take(message)
    smile = shown.shape("MouthSmileLeft")
    assert max(smile[:25]) < 0.1 < smile[80]
