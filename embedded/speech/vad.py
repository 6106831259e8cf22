"""silero-vad by onnxruntime alone: `import silero_vad` would need torch, its .onnx file does not."""

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

_RATE = np.array(16000, dtype=np.int64)


def model_path() -> Path:
    spec = importlib.util.find_spec("silero_vad")  # finds without importing
    folder = Path(spec.origin).parent if spec and spec.origin else None
    path = folder / "data" / "silero_vad.onnx" if folder else None
    if path is None or not path.is_file():
        raise StartupError("the voice detector's model is missing.", hint="Run `make setup`.")
    return path


@cache
def _session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One window is 0.1 ms of work on one thread; more threads only wait for each other.
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])


class VoiceDetector:
    """Voice probabilities of one stream. The model is shared, its recurrent state is not."""

    def __init__(self) -> None:
        self._session = _session()
        self._state: NDArray[np.float32] = np.zeros((2, 1, 128), dtype=np.float32)
        self._context: NDArray[np.float32] = np.zeros(CONTEXT, dtype=np.float32)
        self._pending = b""

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
        framed = np.concatenate([self._context, samples])
        self._context = framed[-CONTEXT:]
        output, self._state = self._session.run(
            None, {"input": framed[None], "state": self._state, "sr": _RATE}
        )
        return float(output[0, 0])
