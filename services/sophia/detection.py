"""One voice detector for all sessions: windows that come within a few ms are judged together.

A window costs 50 to 90 µs alone and 20 to 25 among eight: the weights (1 MB) are read once for all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from shared import silero

log = logging.getLogger(__name__)

WAIT_S = 0.01
"""How long a window waits for those of others; so much later is speech noticed."""
TOGETHER = 16
"""Windows that are judged in one step of the loop: some 0.3 ms, and more would cost each hardly less."""


class Detector:
    def __init__(self) -> None:
        self._network = silero.Network(TOGETHER)
        self._waiting: dict[Listener, bytes] = {}
        self._timer: asyncio.TimerHandle | None = None

    def open(self, on_window: Callable[[bytes, float], None]) -> Listener:
        """A stream. `on_window` is told each window of it, in order, and the probability of a voice in it."""
        return Listener(self, on_window)

    def add(self, listener: Listener, window: bytes) -> None:
        self._waiting[listener] = window
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WAIT_S, self._judge)

    def judge_now(self, listener: Listener) -> None:
        """Where a window of this one waits, it and those beside it."""
        while listener in self._waiting:
            self._judge()

    def forget(self, listener: Listener) -> None:
        self._waiting.pop(listener, None)

    def _judge(self) -> None:
        """The oldest of them; the others' turn comes behind whatever else waits for the loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        together = list(self._waiting.items())[:TOGETHER]
        for listener, _ in together:
            del self._waiting[listener]
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(0, self._judge)
        if together:
            streams = [listener.stream for listener, _ in together]
            found = self._network.probabilities(streams, [window for _, window in together])
            for (listener, window), probability in zip(together, found, strict=True):
                listener.tell(window, probability)


class Listener:
    """One stream. Of its windows one at most waits for others; what comes faster than speech does not."""

    def __init__(self, detector: Detector, on_window: Callable[[bytes, float], None]) -> None:
        self.stream = silero.Stream()
        self.drowsy = False
        """While it is set, a quiet window is taken for silence without asking the network."""
        self._detector = detector
        self._on_window = on_window
        self._failure: Exception | None = None

    def feed(self, pcm: bytes) -> None:
        """PCM16 mono 16 kHz of any length. Raises what `on_window` has raised meanwhile."""
        for window in self.stream.cut(pcm):
            self._detector.judge_now(self)
            if (failure := self._failure) is not None:
                self._failure = None
                raise failure
            if self.drowsy and silero.is_quiet(window):
                self.stream.framed(window)
                self._on_window(window, 0.0)
            else:
                self._detector.add(self, window)

    def tell(self, window: bytes, probability: float) -> None:
        """What becomes of it is this stream's affair, not that of those judged beside it."""
        try:
            self._on_window(window, probability)
        except Exception as error:
            log.exception("what was heard could not be dealt with")  # now: it may never be fed again
            self._failure = error

    def forget(self) -> None:
        """Of the window that waits, nobody is told."""
        self._detector.forget(self)
