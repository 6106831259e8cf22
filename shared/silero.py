"""silero-vad's network in numpy: a window costs half of what onnxruntime takes for it.

The weights come from the package's .onnx file (`import silero_vad` would need torch). The network, for each
window of 512 samples with the 64 before it: magnitudes of four Hann-windowed frames, four convolutions, an
LSTM cell, a weighted sum. tests/shared/test_silero.py holds every probability against the file's own graph.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
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
QUIET_RMS = 10 ** (-55 / 20)
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


class VoiceDetector:
    """Voice probabilities of one stream. The weights are shared, the recurrent state is not."""

    def __init__(self) -> None:
        self._weights = load()
        self._memory = np.zeros(WIDTH, np.float32)  # the LSTM's cell
        self._features = np.zeros(2 * WIDTH, np.float32)  # what goes into the LSTM, and what came out of it
        self._framed = np.zeros(
            CONTEXT + WINDOW + CONTEXT, np.float32
        )  # the last part mirrors what precedes it
        self._pending = b""
        self.drowsy = False
        """While it is set, a quiet window is taken for silence without asking the network."""
        # Views into fixed arrays, one row of zeros at each padded end: no window allocates them anew.
        self._frames = sliding_window_view(self._framed, FRAME)[::HOP]
        self._spectra = np.zeros((FRAMES + 2, BINS), np.float32)
        self._spectra_taps = as_strided(self._spectra, (FRAMES, 3 * BINS), (4 * BINS, 4))
        self._first = np.zeros((FRAMES + 1, WIDTH), np.float32)
        self._first_taps = as_strided(self._first, (FRAMES // 2, 3 * WIDTH), (2 * 4 * WIDTH, 4))

    def feed(self, pcm: bytes) -> Iterator[tuple[bytes, float]]:
        """PCM16 mono 16 kHz of any length in; each whole window and its probability out."""
        data = self._pending + pcm
        whole = len(data) - len(data) % WINDOW_BYTES
        self._pending = data[whole:]
        for start in range(0, whole, WINDOW_BYTES):
            window = data[start : start + WINDOW_BYTES]
            yield window, self._probability(window)

    def _probability(self, window: bytes) -> float:
        framed = self._framed
        framed[:CONTEXT] = framed[WINDOW : WINDOW + CONTEXT]
        samples = framed[CONTEXT : CONTEXT + WINDOW]
        np.multiply(np.frombuffer(window, "<i2"), np.float32(1 / 32768), out=samples)
        if self.drowsy and float(samples @ samples) < QUIET_RMS**2 * WINDOW:
            return 0.0
        framed[-CONTEXT:] = samples[-2 : -2 - CONTEXT : -1]
        self._recur(self._encode())
        weight, bias = self._weights.output
        score = float(np.maximum(self._features[WIDTH:], 0.0) @ weight) + bias
        return 1.0 / (1.0 + math.exp(-score))

    def _encode(self) -> Array:
        """The four convolutions over the four spectra, of which the strides of two leave one."""
        (first, bias1), (second, bias2), (third, bias3), (fourth, bias4) = self._weights.convolutions
        np.abs(np.fft.rfft(self._frames * self._weights.window), out=self._spectra[1:-1])
        found = np.dot(self._spectra_taps, first, out=self._first[1:])
        found += bias1
        np.maximum(found, 0.0, out=found)
        found = np.maximum(self._first_taps @ second + bias2, 0.0).reshape(-1)
        found = np.maximum(found @ third + bias3, 0.0)
        encoded: Array = np.maximum(found @ fourth + bias4, 0.0)
        return encoded

    def _recur(self, encoded: Array) -> None:
        """One step of the LSTM."""
        matrix, bias = self._weights.gates
        self._features[:WIDTH] = encoded
        gates = np.tanh(self._features @ matrix + bias)
        take, keep, candidate, show = gates.reshape(4, WIDTH)
        self._memory += keep * self._memory + (1.0 + take) * candidate
        self._memory *= 0.5
        np.multiply(np.tanh(self._memory), 0.5 + 0.5 * show, out=self._features[WIDTH:])
