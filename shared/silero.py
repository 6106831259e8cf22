"""silero-vad by onnxruntime alone: `import silero_vad` would need torch, its .onnx file does not.

The graph takes input[1, 64 context + 512] float32 at 16 kHz, state[2, 1, 128] and the rate; a window costs
about 0.1 ms.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.errors import StartupError

WINDOW = 512  # samples at 16 kHz: 32 ms
CONTEXT = 64  # samples of the window before, which the model wants in front of each
WINDOW_BYTES = 2 * WINDOW
WINDOW_MS = 32.0
QUIET_RMS = 10 ** (-55 / 20)
"""Below -55 dBFS there is nothing that could be speech."""

_RATE = np.array(16000, dtype=np.int64)


def _model_path() -> Path:
    spec = importlib.util.find_spec("silero_vad")  # finds without importing
    folder = Path(spec.origin).parent if spec and spec.origin else None
    path = folder / "data" / "silero_vad.onnx" if folder else None
    if path is None or not path.is_file():
        raise StartupError("the voice detector's model is missing.", hint="Run `make setup`.")
    return path


@cache
def load() -> onnxruntime.InferenceSession:
    """The model, once for the process; raises StartupError where it is missing."""
    options = onnxruntime.SessionOptions()
    # One window is 0.1 ms of work on one thread; more threads only wait for each other.
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(_model_path()), options, providers=["CPUExecutionProvider"])


class VoiceDetector:
    """Voice probabilities of one stream. The model is shared, its recurrent state is not."""

    def __init__(self) -> None:
        self._session = load()
        self._state: NDArray[np.float32] = np.zeros((2, 1, 128), dtype=np.float32)
        self._context: NDArray[np.float32] = np.zeros(CONTEXT, dtype=np.float32)
        self._pending = b""
        self.drowsy = False
        """While it is set, a quiet window is taken for silence without asking the model."""

    def feed(self, pcm: bytes) -> Iterator[tuple[bytes, float]]:
        """PCM16 mono 16 kHz of any length in; each whole window and its probability out."""
        data = self._pending + pcm
        whole = len(data) - len(data) % WINDOW_BYTES
        self._pending = data[whole:]
        for start in range(0, whole, WINDOW_BYTES):
            window = data[start : start + WINDOW_BYTES]
            yield window, self._probability(window)

    def _probability(self, window: bytes) -> float:
        samples = np.frombuffer(window, "<i2").astype(np.float32) / 32768.0
        asleep = self.drowsy and float(np.sqrt(samples @ samples / WINDOW)) < QUIET_RMS
        framed = np.concatenate([self._context, samples])
        self._context = framed[-CONTEXT:]
        if asleep:
            return 0.0
        output, self._state = self._session.run(
            None, {"input": framed[None], "state": self._state, "sr": _RATE}
        )
        return float(output[0, 0])
