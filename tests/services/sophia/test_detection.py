"""Windows of all sessions in one call: none waits long, none for another's fault, and each in its order."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sophia.detection import TOGETHER, Detector, Listener
from shared.silero import WINDOW_BYTES, VoiceDetector
from tests.embedded.speech.conftest import cut, sample

LOUD = np.random.default_rng(5).normal(0, 3000, WINDOW_BYTES // 2).astype("<i2").tobytes()


class Told:
    def __init__(self) -> None:
        self.windows: list[bytes] = []
        self.found: list[float] = []
        self._more = asyncio.Event()

    def __call__(self, window: bytes, probability: float) -> None:
        self.windows.append(window)
        self.found.append(probability)
        self._more.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.found) < count:
                self._more.clear()
                await self._more.wait()


def listener(detector: Detector) -> tuple[Listener, Told]:
    told = Told()
    return detector.open(told), told


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3000)), max_size=40))
def test_each_stream_is_told_of_its_own_windows_in_their_order(fed: list[tuple[int, int]]) -> None:
    async def run() -> None:
        detector = Detector()
        ears = [listener(detector) for _ in range(4)]
        sounds = [sample("question")[3000 * number :] for number in range(4)]
        ends = [0] * 4
        for number, size in fed:
            begin = ends[number]
            ends[number] = min(begin + 2 * size, len(sounds[number]))
            ears[number][0].feed(sounds[number][begin : ends[number]])
        for (_, told), sound, end in zip(ears, sounds, ends, strict=True):
            await told.until(end // WINDOW_BYTES)
            expected = list(VoiceDetector().feed(sound[:end]))
            assert told.windows == [window for window, _ in expected]
            assert np.allclose(told.found, [found for _, found in expected], atol=1e-5)

    asyncio.run(run())


async def test_one_window_waits_and_those_before_it_do_not() -> None:
    ear, told = listener(Detector())
    ear.feed(3 * LOUD)
    assert len(told.found) == 2
    await told.until(3)


async def test_more_than_fit_into_one_step() -> None:
    detector = Detector()
    ears = [listener(detector) for _ in range(2 * TOGETHER + 1)]
    for ear, _ in ears:
        ear.feed(LOUD)
    ears[-1][0].feed(LOUD)  # its first is judged before this is taken, with all that were there before it
    assert [len(told.found) for _, told in ears] == [1] * len(ears)
    await ears[-1][1].until(2)


async def test_a_drowsy_stream_hears_speech_and_spares_the_network_in_silence() -> None:
    ear, told = listener(Detector())
    ear.drowsy = True
    ear.feed(bytes(WINDOW_BYTES))
    assert told.found == [0.0]
    pcm = sample("question")
    for piece in cut(pcm, 640):
        ear.feed(piece)
    await told.until(1 + len(pcm) // WINDOW_BYTES)
    assert sum(probability > 0.5 for probability in told.found) > 30


async def test_what_a_window_does_to_one_stream_is_not_felt_by_those_beside_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: bytes, __: float) -> None:
        raise ValueError("of this stream alone")

    detector = Detector()
    failing, (ear, told) = detector.open(fail), listener(detector)
    failing.feed(LOUD)
    ear.feed(LOUD)
    await told.until(1)
    with pytest.raises(ValueError, match="of this stream alone"):
        failing.feed(LOUD)
    assert "of this stream alone" in caplog.text, "also where it is never fed again"


async def test_nobody_is_told_of_a_window_that_was_forgotten() -> None:
    detector = Detector()
    (forgetful, silent), (ear, told) = listener(detector), listener(detector)
    forgetful.feed(LOUD)
    ear.feed(LOUD)
    forgetful.forget()
    await told.until(1)
    assert not silent.found
