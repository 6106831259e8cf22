"""Voice probabilities of one stream, by the shared model."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.silero import CONTEXT, WINDOW, WINDOW_BYTES, Network, Stream, VoiceDetector, model_path
from tests.embedded.speech.conftest import cut, sample


def probabilities(pcm: bytes, size: int = 3200) -> list[float]:
    detector = VoiceDetector()
    return [probability for piece in cut(pcm, size) for _, probability in detector.feed(piece)]


def test_the_network_is_the_one_of_the_file() -> None:
    graph = onnxruntime.InferenceSession(str(model_path()), providers=["CPUExecutionProvider"])
    loud = np.random.default_rng(2).normal(0, 9000, 20 * WINDOW).clip(-32768, 32767).astype("<i2").tobytes()
    pcm = sample("question") + loud + bytes(10 * WINDOW_BYTES)
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    state, before, expected = np.zeros((2, 1, 128), np.float32), np.zeros(CONTEXT, np.float32), []
    for window in samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW):
        framed = np.concatenate([before, window])
        before = framed[-CONTEXT:]
        output, state = graph.run(None, {"input": framed[None], "state": state, "sr": np.array(16000)})
        expected.append(float(output[0, 0]))
    assert np.abs(np.array(probabilities(pcm)) - expected).max() < 1e-4


def test_speech_is_told_from_silence_and_noise() -> None:
    noise = np.random.default_rng(1).normal(0, 300, 32000).astype("<i2").tobytes()
    assert max(probabilities(bytes(32000))) < 0.1
    assert max(probabilities(noise)) < 0.5
    speech = probabilities(sample("question"))
    assert sum(value > 0.5 for value in speech) > 30  # of 87 windows, a second of them before and after
    assert max(speech[:5]) < 0.5


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 5000))
def test_the_cut_of_the_stream_does_not_matter(size: int) -> None:
    pcm = sample("question")[: 40 * WINDOW_BYTES]
    assert probabilities(pcm, size) == probabilities(pcm)


def test_streams_do_not_disturb_each_other() -> None:
    pcm = sample("question")
    one, other = VoiceDetector(), VoiceDetector()
    alternately = [
        probability
        for piece in cut(pcm)
        for _, probability in [*one.feed(piece), *((b"", -1.0) for _ in other.feed(bytes(len(piece))))]
        if probability >= 0
    ]
    assert alternately == probabilities(pcm)


def test_torch_is_not_needed() -> None:
    assert "torch" not in sys.modules


def test_windows_of_several_streams_are_judged_together() -> None:
    """Each stream as if it were alone, however many and whichever are beside it."""
    pcm = sample("question")
    sounds = [list(cut(pcm[start:], WINDOW_BYTES))[:60] for start in range(0, 10000, 2000)]
    network, streams = Network(len(sounds)), [Stream() for _ in sounds]
    found: list[list[float]] = [[] for _ in sounds]
    for step in range(60):
        among = [number for number in range(len(sounds)) if number == 0 or step % (number + 1)]
        windows = [sounds[number][len(found[number])] for number in among]
        judged = network.probabilities([streams[number] for number in among], windows)
        for number, probability in zip(among, judged, strict=True):
            found[number].append(probability)
    for sound, values in zip(sounds, found, strict=True):
        alone = probabilities(b"".join(sound))[: len(values)]
        assert np.abs(np.array(values) - alone).max() < 1e-5
    assert max(found[0]) > 0.9
