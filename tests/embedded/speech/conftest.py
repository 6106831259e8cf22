"""NVIDIA's own client, unmodified, against our server; and the recordings that it sends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from riva.client import ASRService, RecognitionConfig, StreamingRecognitionConfig
from riva.client.proto import riva_asr_pb2 as pb

from shared.audio import read_wav
from tests.fixtures.speech import RivaServer

SAMPLES = Path(__file__).resolve().parents[3] / "samples"
CHUNK = 3200  # bytes: 100 ms at 16 kHz
SILENCE = bytes(2 * CHUNK * 5)  # a second, after which every utterance has ended


def sample(name: str) -> bytes:
    """PCM16 at 16 kHz of a recording in samples/."""
    return read_wav(SAMPLES / f"{name}.wav")


def said(name: str) -> str:
    """Its text as the recogniser writes it: lower case, no punctuation."""
    text = (SAMPLES / f"{name}.txt").read_text().lower()
    return " ".join("".join(letter for letter in text if letter.isalpha() or letter in " '").split())


def cut(data: bytes, size: int = CHUNK) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@dataclass
class Heard:
    """What one stream answered."""

    partials: list[pb.StreamingRecognitionResult] = field(default_factory=list)
    finals: list[pb.StreamingRecognitionResult] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [final.alternatives[0].transcript.strip() for final in self.finals]


@dataclass(frozen=True)
class Recogniser:
    service: ASRService

    def results(
        self, chunks: Iterable[bytes], *, interim: bool = True, **config: Any
    ) -> Iterator[pb.StreamingRecognitionResult]:
        """As they come."""
        asked = StreamingRecognitionConfig(config=RecognitionConfig(**config), interim_results=interim)
        for response in self.service.streaming_response_generator(chunks, asked):
            yield from response.results

    def stream(self, chunks: Iterable[bytes], *, interim: bool = True, **config: Any) -> Heard:
        heard = Heard()
        for result in self.results(chunks, interim=interim, **config):
            (heard.finals if result.is_final else heard.partials).append(result)
        return heard

    def stream_pcm(self, pcm: bytes, **config: Any) -> Heard:
        defaults = {"encoding": 1, "sample_rate_hertz": 16000, "language_code": "en-US"}
        return self.stream(cut(pcm), **(defaults | config))


@pytest.fixture(name="recogniser")
def recogniser_of(riva: RivaServer) -> Recogniser:
    return Recogniser(ASRService(riva.auth()))
