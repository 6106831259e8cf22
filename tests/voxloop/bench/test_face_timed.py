"""Times of phones on the way that a reply takes: embedded Riva, sophia's clients, aurora, embedded face."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.sophia.face import Face, FaceStream
from services.sophia.riva import Riva
from shared.channels import Endpoint
from tests.fixtures.face import AuroraServer
from tests.fixtures.face import answers as answers_http
from tests.fixtures.speech import RivaServer
from voxloop.bench.face_timed import measure_timed


@pytest.fixture(name="peers")
async def clients(riva: RivaServer, aurora: AuroraServer) -> AsyncIterator[tuple[Riva, Face]]:
    await aurora.metrics.becomes(lambda _: answers_http(f"{aurora.http}/readyz"))  # aurora has asked its face
    voice = Riva(Endpoint("riva", riva.uri, use_tls=True, ca=riva.ca), speech_deadline_s=10)
    face = Face(Endpoint("aurora", aurora.target))
    yield voice, face
    await voice.close()
    await face.close()


async def test_closures_are_shown_when_they_are_heard(peers: tuple[Riva, Face]) -> None:
    figures = await measure_timed(*peers)
    timed = figures["closure_f1_timed"] or 0
    assert timed >= 0.95
    assert timed > (figures["closure_f1_untimed"] or 0)
    assert timed > 1.5 * (figures["closure_f1_timed_chance"] or 1)
    assert abs(figures["closure_shift_ms"] or 99) < 10
    assert (figures["closure_shift_ms_p95"] or 99) < 33
    assert (figures["jaw_r_timed"] or 0) > (figures["jaw_r_untimed"] or 1)


@pytest.mark.parametrize("late_ms", [-60.0, 60.0])
async def test_the_measure_sees_times_that_are_shifted_on_their_way(
    peers: tuple[Riva, Face], late_ms: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = FaceStream.timing
    monkeypatch.setattr(
        FaceStream, "timing", lambda self, words, phones, at_ms: timing(self, words, phones, at_ms + late_ms)
    )
    figures = await measure_timed(*peers, count=12)
    shift_ms = figures["closure_shift_ms"] or 0
    assert 30 < abs(shift_ms) < 90
    assert shift_ms * late_ms > 0
