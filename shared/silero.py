"""silero-vad's network in numpy: half of onnxruntime's cost for a window, less for several at once.

The weights come from the package's .onnx file (`import silero_vad` would need torch). The network, for each
window of 512 samples with the 64 before it: magnitudes of four Hann-windowed frames, four convolutions, an
LSTM cell, a weighted sum. tests/shared/test_silero.py holds every probability against the file's own graph.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray
from onnx import numpy_helper

from shared.errors import StartupError

WINDOW = 512  # samples at 16 kHz: 32 ms
CONTEXT = 64  # samples of the window before, which the network wants in front of each
WINDOW_BYTES = 2 * WINDOW
WINDOW_MS = 32.0
QUIET_RMS = 32768 * 10 ** (-55 / 20)
"""Below -55 dBFS there is nothing that could be speech."""

FRAME, HOP = 256, 128  # samples of a spectrum, and from one to the next
FRAMES, BINS = 4, FRAME // 2 + 1
WIDTH = 128  # of the first convolution, and of the LSTM's state

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Weights:
    """Matrices with inputs down and outputs across. Those of the LSTM's gates give half of their sum but for
    the candidate, as 2·sigmoid(x) = 1 + tanh(x / 2)."""

    window: Array  # [FRAME]
    convolutions: tuple[tuple[Array, Array], ...]
    gates: tuple[Array, Array]  # [2 WIDTH, 4 WIDTH]: input, forget, candidate, output
    output: tuple[Array, float]


def model_path() -> Path:
    """The file of the weights in the silero-vad package; raises StartupError where there is none."""
    spec = importlib.util.find_spec("silero_vad")  # finds without importing
    folder = Path(spec.origin).parent if spec and spec.origin else None
    path = folder / "data" / "silero_vad_op18_ifless.onnx" if folder else None
    if path is None or not path.is_file():
        raise StartupError("the voice detector's model is missing.", hint="Run `make setup`.")
    return path


@cache
def load() -> Weights:
    """Once for the process; raises StartupError where they are missing."""
    initializers = onnx.load(model_path()).graph.initializer
    raw = {tensor.name: numpy_helper.to_array(tensor) for tensor in initializers}

    def of(name: str) -> Array:
        return raw[f"model.{name}"].astype(np.float32)

    def convolution(index: int, taps: slice) -> tuple[Array, Array]:
        """Only the `taps` that ever meet more than padding."""
        weight = of(f"encoder.{index}.reparam_conv.weight")[:, :, taps]  # [outputs, inputs, taps]
        matrix = weight.transpose(2, 1, 0).reshape(-1, weight.shape[0])
        return np.ascontiguousarray(matrix), of(f"encoder.{index}.reparam_conv.bias")

    cell = "decoder.rnn."
    gates = np.concatenate([of(cell + "weight_ih"), of(cell + "weight_hh")], axis=1).T
    bias = of(cell + "bias_ih") + of(cell + "bias_hh")
    half = np.full(4 * WIDTH, 0.5, np.float32)
    half[2 * WIDTH : 3 * WIDTH] = 1.0
    return Weights(
        window=of("stft.forward_basis_buffer")[0, 0],  # of the cosine of 0 Hz, which is 1
        convolutions=(
            convolution(0, slice(0, 3)),
            convolution(1, slice(0, 3)),
            convolution(2, slice(1, 3)),
            convolution(3, slice(1, 2)),
        ),
        gates=(np.ascontiguousarray(gates * half), bias * half),
        output=(of("decoder.decoder.2.weight").reshape(WIDTH), float(of("decoder.decoder.2.bias")[0])),
    )


class Stream:
    """What there is of one stream between two windows."""

    def __init__(self) -> None:
        self.state = np.zeros(2 * WIDTH, np.float32)
        """What came out of the LSTM, and its cell."""
        self._context = bytes(2 * CONTEXT)
        self._pending = b""

    def cut(self, pcm: bytes) -> Iterator[bytes]:
        """PCM16 mono 16 kHz of any length in, whole windows out."""
        data = self._pending + pcm
        whole = len(data) - len(data) % WINDOW_BYTES
        self._pending = data[whole:]
        for start in range(0, whole, WINDOW_BYTES):
            yield data[start : start + WINDOW_BYTES]

    def framed(self, window: bytes) -> bytes:
        """`window` behind its context; to be asked for once, in order."""
        context, self._context = self._context, window[-2 * CONTEXT :]
        return context + window


def is_quiet(window: bytes) -> bool:
    samples = np.frombuffer(window, "<i2").astype(np.float32)
    return float(samples @ samples) < QUIET_RMS**2 * WINDOW


class Network:
    """For up to so many windows at once, in arrays made here: to make them costs as much as the sums do.

    Raises StartupError where the weights are missing.
    """

    def __init__(self, at_most: int) -> None:
        self._weights = load()
        # The last part of what is framed mirrors the one before; of spectra and first features, a row of
        # zeros pads each end that a tap reaches over.
        self._framed = np.zeros((at_most, CONTEXT + WINDOW + CONTEXT), np.float32)
        self._frames = sliding_window_view(self._framed, FRAME, axis=1)[:, ::HOP]
        self._spectra = np.zeros((at_most, FRAMES + 2, BINS), np.float32)
        self._spectra_taps = as_strided(self._spectra, (at_most, FRAMES, 3 * BINS), self._spectra.strides)
        self._first = np.zeros((at_most, FRAMES + 1, WIDTH), np.float32)
        row, step, item = self._first.strides
        self._first_taps = as_strided(self._first, (at_most, FRAMES // 2, 3 * WIDTH), (row, 2 * step, item))

    def probabilities(self, streams: Sequence[Stream], windows: Sequence[bytes]) -> list[float]:
        """That there is a voice in each of these windows, of as many different streams."""
        size = len(streams)
        pcm = b"".join(map(Stream.framed, streams, windows))
        framed = self._framed[:size]
        samples = np.frombuffer(pcm, "<i2").reshape(size, CONTEXT + WINDOW)
        np.multiply(samples, np.float32(1 / 32768), out=framed[:, :-CONTEXT])
        framed[:, -CONTEXT:] = framed[:, -2 - CONTEXT : -2 - 2 * CONTEXT : -1]
        states = np.concatenate([stream.state for stream in streams]).reshape(size, 2 * WIDTH)
        self._recur(self._encode(size), states)
        for stream, state in zip(streams, states, strict=True):
            stream.state[:] = state
        weight, bias = self._weights.output
        scores = np.maximum(states[:, :WIDTH], 0.0) @ weight + bias
        found: list[float] = (1.0 / (1.0 + np.exp(-scores))).tolist()
        return found

    def _encode(self, size: int) -> Array:
        """The four convolutions over the four spectra, of which the strides of two leave one."""
        (first, bias1), (second, bias2), (third, bias3), (fourth, bias4) = self._weights.convolutions
        spectra = np.fft.rfft(self._frames[:size] * self._weights.window)
        np.abs(spectra, out=self._spectra[:size, 1:-1])
        found: Array = self._spectra_taps[:size].reshape(-1, 3 * BINS) @ first
        found += bias1
        np.maximum(found.reshape(size, FRAMES, WIDTH), 0.0, out=self._first[:size, 1:])
        found = self._first_taps[:size].reshape(-1, 3 * WIDTH) @ second
        found += bias2
        found = np.maximum(found, 0.0, out=found).reshape(size, -1) @ third
        found += bias3
        found = np.maximum(found, 0.0, out=found) @ fourth
        found += bias4
        encoded: Array = np.maximum(found, 0.0, out=found)
        return encoded

    def _recur(self, encoded: Array, states: Array) -> None:
        """One step of the LSTM, in place."""
        matrix, bias = self._weights.gates
        shown, memory = states[:, :WIDTH], states[:, WIDTH:]
        gates = np.concatenate([encoded, shown], axis=1) @ matrix
        gates += bias
        np.tanh(gates, out=gates)
        take, keep, candidate, show = gates.reshape(-1, 4, WIDTH).transpose(1, 0, 2)
        take += 1.0
        take *= candidate
        keep += 1.0
        memory *= keep
        memory += take
        memory *= 0.5
        show += 1.0
        show *= 0.5
        np.multiply(np.tanh(memory), show, out=shown)


class VoiceDetector:
    """Voice probabilities of one stream, each window as it comes."""

    def __init__(self) -> None:
        self._network = Network(1)
        self._stream = Stream()

    def feed(self, pcm: bytes) -> Iterator[tuple[bytes, float]]:
        """PCM16 mono 16 kHz of any length in; each whole window and its probability out."""
        for window in self._stream.cut(pcm):
            yield window, self._network.probabilities([self._stream], [window])[0]
