"""Voice activity by silero's ONNX graph, and what it means for the turn: speech began, speech ended.

The graph takes input[1, 64 context + 512] float32 at 16 kHz, state[2, 1, 128] and the rate; one
32 ms window costs about 0.1 ms, so a quiet window is not even shown to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.audio import RATE
from shared.errors import StartupError

WINDOW = 512  # samples, 32 ms
WINDOW_MS = WINDOW * 1000 / RATE
_CONTEXT = 64  # samples of the window before
_WINDOW_BYTES = WINDOW * 2
_QUIET_RMS = 32768 * 10 ** (-55 / 20)
"""Below -55 dBFS there is nothing that could be speech."""


class VadModel:
    """One ONNX session, shared by all voice sessions of the process."""

    def __init__(self) -> None:
        # find_spec does not import the package, whose Python side would need torch.
        spec = find_spec("silero_vad")
        if spec is None or spec.origin is None:
            raise StartupError("the package silero-vad is not installed.", hint="Run make setup.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(Path(spec.origin).parent / "data" / "silero_vad.onnx"), options, ["CPUExecutionProvider"]
        )
        self._rate = np.array(RATE, dtype=np.int64)

    def __call__(
        self, window: NDArray[np.float32], state: NDArray[np.float32]
    ) -> tuple[float, NDArray[np.float32]]:
        probability, state = self._session.run(None, {"input": window, "state": state, "sr": self._rate})
        return float(probability[0, 0]), state


@dataclass(frozen=True, slots=True)
class VadSettings:
    start_threshold: float = 0.5
    stop_threshold: float = 0.35
    start_ms: float = 96.0
    """This much speech in a row begins it."""
    stop_ms: float = 300.0
    """This much quiet in a row ends it."""


class Vad:
    """The state of one audio stream at 16 kHz. `speaking` and `speech_ms` describe the newest window."""

    def __init__(self, model: VadModel, settings: VadSettings) -> None:
        self._model = model
        self._settings = settings
        self._pending = bytearray()
        self._state: NDArray[np.float32] = np.zeros((2, 1, 128), np.float32)
        self._input: NDArray[np.float32] = np.zeros((1, _CONTEXT + WINDOW), np.float32)
        self._loud_ms = 0.0
        self.speaking = False
        self.speech_ms = 0.0
        """How long the present speech has lasted."""
        self.quiet_ms = 0.0
        """How much audio has come since the last window that was speech."""
        self._goes_on = False  # speech that had its end, and has not paused since

    @property
    def voiced_ms(self) -> float:
        """How long the present speech has lasted, without the quiet behind it; 0 where there is none."""
        return self.speech_ms - self.quiet_ms if self.speaking else 0.0

    def feed(self, pcm: bytes) -> list[bool]:
        """Changes in order: True where speech began, False where it ended."""
        self._pending += pcm
        changes = []
        while len(self._pending) >= _WINDOW_BYTES:
            change = self._step(self._probability(bytes(self._pending[:_WINDOW_BYTES])))
            del self._pending[:_WINDOW_BYTES]
            if change is not None:
                changes.append(change)
        return changes

    def _probability(self, window: bytes) -> float:
        samples = np.frombuffer(window, "<i2").astype(np.float32)
        tail = self._input[0, -_CONTEXT:].copy()
        self._input[0, :_CONTEXT] = tail
        self._input[0, _CONTEXT:] = samples / 32768.0
        if (
            not self.speaking
            and not self._loud_ms
            and float(np.sqrt(samples @ samples / WINDOW)) < _QUIET_RMS
        ):
            return 0.0
        probability, self._state = self._model(self._input, self._state)
        return probability

    def end_speech(self) -> bool:
        """Riva has heard the end of the utterance: what comes now is new speech. Whether there was any.

        What sounds on without a pause is not new: it is music, or a room full of people.
        """
        self._goes_on = self.speaking and not self.quiet_ms
        was_speaking, self.speaking, self._loud_ms = self.speaking, False, 0.0
        return was_speaking

    def _step(self, probability: float) -> bool | None:
        if probability >= self._settings.start_threshold:
            self.quiet_ms = 0.0
        elif probability < self._settings.stop_threshold or self.quiet_ms:
            self.quiet_ms += WINDOW_MS
        if not self.speaking:
            self._goes_on = self._goes_on and self.quiet_ms < self._settings.stop_ms
            is_loud = probability >= self._settings.start_threshold and not self._goes_on
            self._loud_ms = self._loud_ms + WINDOW_MS if is_loud else 0.0
            if self._loud_ms < self._settings.start_ms:
                return None
            self.speaking, self.speech_ms = True, self._loud_ms
            return True
        self.speech_ms += WINDOW_MS
        if self.quiet_ms < self._settings.stop_ms:
            return None
        self.speaking, self._loud_ms = False, 0.0
        return False
