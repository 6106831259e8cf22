"""The worker as a process, spoken to in frames over its pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from embedded.speech.frames import Frame, FrameReader, Kind
from embedded.speech.results import OPTIONS, RESULT, Options, Result
from tests.embedded.speech.conftest import cut, said, sample
from tests.fixtures.launch import ROOT

DEADLINE_S = 120.0


class Client:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "embedded.speech.worker"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reader = FrameReader()
        self._frames: list[Frame] = []

    def send(self, *frames: Frame) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(frame.pack() for frame in frames))
        self.process.stdin.flush()

    def receive(self) -> Frame:
        assert self.process.stdout is not None
        while not self._frames:
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, "the worker ended"
            self._frames += self._reader.feed(data)
        return self._frames.pop(0)

    def until(self, kind: Kind) -> Frame:
        while (frame := self.receive()).kind is not kind:
            pass
        return frame


@pytest.fixture(scope="module", name="worker")
def running_worker() -> Iterator[Client]:
    client = Client()
    assert client.receive() == Frame(Kind.READY)
    yield client
    assert client.process.stdin is not None
    client.process.stdin.close()
    assert client.process.wait(DEADLINE_S) == 0  # it ends when its server does
    assert client.process.stdout is not None
    client.process.stdout.close()


def opened(number: int, options: Options | None = None) -> Frame:
    return Frame(Kind.OPEN, number, OPTIONS.dump_json(options or Options(interim=False)))


def audio(number: int, name: str) -> list[Frame]:
    return [Frame(Kind.AUDIO, number, piece) for piece in cut(sample(name))]


def result(frame: Frame) -> Result:
    return RESULT.validate_json(frame.body)


def test_an_utterance_ends_with_its_final(worker: Client) -> None:
    worker.send(opened(1), *audio(1, "question"), Frame(Kind.CLOSE, 1))
    final = worker.receive()
    assert (final.kind, final.utterance, result(final).text) == (Kind.FINAL, 1, said("question"))


def test_partials_come_when_it_keeps_up_with_the_speaker(worker: Client) -> None:
    worker.send(opened(2, Options(interim=True)))
    for frame in audio(2, "question"):
        worker.send(frame)
    assert result(worker.until(Kind.PARTIAL)).text
    worker.send(Frame(Kind.CLOSE, 2))
    assert result(worker.until(Kind.FINAL)).text == said("question")


def test_alternatives_are_given_as_many_as_asked_for(worker: Client) -> None:
    worker.send(opened(3, Options(False, 4)), *audio(3, "question"), Frame(Kind.CLOSE, 3))
    final = result(worker.receive())
    assert 1 <= len(final.alternatives) <= 3
    assert final.text not in final.alternatives


def test_a_dropped_utterance_gets_no_answer(worker: Client) -> None:
    worker.send(opened(4), *audio(4, "count"), Frame(Kind.DROP, 4))
    worker.send(opened(5), *audio(5, "question"), Frame(Kind.CLOSE, 5))
    assert worker.receive().utterance == 5


def test_what_comes_for_an_old_utterance_is_ignored(worker: Client) -> None:
    worker.send(opened(6), *audio(6, "question"), *audio(5, "count"), Frame(Kind.CLOSE, 5))
    worker.send(Frame(Kind.CLOSE, 6))
    assert result(worker.receive()).text == said("question")


def test_nothing_was_said_in_no_sound(worker: Client) -> None:
    worker.send(opened(7), Frame(Kind.CLOSE, 7))
    assert result(worker.receive()).text == ""
