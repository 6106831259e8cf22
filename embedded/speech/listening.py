"""One stream's ear: it waits for speech and puts each utterance into a worker's hands."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from embedded.speech.endpoint import WINDOW_MS, Endpointer, EndpointRule, Event
from embedded.speech.pool import Pool, Utterance
from embedded.speech.results import Options
from shared.audio import BYTES_PER_SAMPLE, RATE
from shared.silero import VoiceDetector

BYTES_PER_S = BYTES_PER_SAMPLE * RATE
PREROLL_MS = 300
WINDOWS_AT_ONCE = 32
"""Detections (0.1 ms each) before others get the loop: a client may send a minute in one chunk."""


@dataclass(frozen=True)
class Spoken:
    """An utterance and where it begins in the stream, ms."""

    utterance: Utterance
    offset_ms: int


class Listener:
    """Feeds what is voiced to a worker. Utterances that began wait, in order, in `spoken`.

    Nothing is read ahead of the workers: while none is free, `feed` does not return, so the client's
    stream fills up and gRPC's flow control holds the client back.
    """

    def __init__(self, pool: Pool, rule: EndpointRule, options: Options) -> None:
        self._pool = pool
        self._options = options
        self._detector = VoiceDetector()
        self._endpointer = Endpointer(rule)
        self._preroll = deque[bytes](maxlen=-(-PREROLL_MS // WINDOW_MS))
        self._utterance: Utterance | None = None
        self._mine: set[Utterance] = set()
        self._began_at = 0
        self._heard = 0  # bytes
        self._outbox = bytearray()
        self.spoken: asyncio.Queue[Spoken | None] = asyncio.Queue(2)

    @property
    def heard_s(self) -> float:
        return self._heard / BYTES_PER_S

    async def feed(self, pcm: bytes) -> None:
        """PCM16 mono at 16 kHz, any length."""
        for count, (window, probability) in enumerate(self._detector.feed(pcm), start=1):
            self._heard += len(window)
            await self._hear(window, self._endpointer.push(probability))
            if count % WINDOWS_AT_ONCE == 0:
                await asyncio.sleep(0)
        await self._flush()

    async def end_utterance(self) -> None:
        """Now, whatever the sound says: the client asked for it, or the stream ends."""
        if self._utterance is not None:
            await self._flush()
            await self._utterance.close()
            self._utterance = None
        self._endpointer.reset()
        self._preroll.clear()

    async def finish(self) -> None:
        await self.end_utterance()
        await self.spoken.put(None)

    def done_with(self, spoken: Spoken) -> None:
        self._mine.discard(spoken.utterance)

    def drop(self) -> None:
        """The stream is gone: whatever still occupies a worker is given up."""
        for utterance in self._mine:
            utterance.drop()
        self._mine.clear()

    async def _hear(self, window: bytes, event: Event | None) -> None:
        if event is Event.STARTED:
            await self._begin(window)
        elif self._utterance is None:
            self._preroll.append(window)
        else:
            self._outbox += window
            await self._follow(self._utterance, event)

    async def _begin(self, window: bytes) -> None:
        self._utterance = await self._pool.open(self._options)
        self._outbox = bytearray(b"".join(self._preroll) + window)
        self._began_at = self._heard - len(self._outbox)
        self._preroll.clear()
        self._mine.add(self._utterance)
        await self.spoken.put(Spoken(self._utterance, self._began_at * 1000 // BYTES_PER_S))

    async def _follow(self, utterance: Utterance, event: Event | None) -> None:
        if event is Event.PAUSED:
            await self._flush()
            await utterance.pause()
        elif event is Event.RESUMED:
            await utterance.resume()
        elif event is Event.ENDED:
            await self.end_utterance()

    async def _flush(self) -> None:
        """What came in one chunk goes to the worker in one frame."""
        if self._utterance is not None and self._outbox:
            await self._utterance.feed(bytes(self._outbox))
        self._outbox.clear()
