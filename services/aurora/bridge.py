"""One turn: sound in from the caller, through Audio2Face, frames out to the caller and the viewers.

Three tasks run at once and end together: `_listen` takes sound in, `_watch` takes frames out of Audio2Face,
`_show` sends on what the Track lets go.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from services.aurora import metrics
from services.aurora.audience import Audience
from services.aurora.audio2face import PEER, Emotions, Frame, Names
from services.aurora.emotions import known
from services.aurora.settings import AuroraSettings
from services.aurora.timing import marks_of
from services.aurora.track import FPS, Track
from services.aurora.upstream import Stream, Upstream
from shared.audio import BYTES_PER_SAMPLE, RATE, Resampler, WholeSamples
from shared.errors import InputError, PeerProtocol
from shared.wire.aurora.v1 import aurora_pb2

Request = aurora_pb2.AnimateRequest
Response = aurora_pb2.AnimateResponse
Read = Callable[[], Awaitable[Request | None]]
Write = Callable[[Response], Awaitable[None]]

PIECE_S = 1.0
"""Longer sound is resampled and sent on in pieces of this length."""


class TurnAbandoned(Exception):
    """The caller closed its side before End, which is how some of them cancel."""


class Turn:
    """`read` gives the caller's messages after Start (None at the end), `write` takes ours; both have
    deadlines of their own."""

    def __init__(self, start: aurora_pb2.Start, settings: AuroraSettings, read: Read, write: Write) -> None:
        self._rate = start.sample_rate_hz
        self._resampler = Resampler(self._rate, RATE)  # raises AudioError for an impossible rate
        self._whole = WholeSamples()
        self._silence = bytes(settings.trailing_silence_ms * RATE // 1000 * BYTES_PER_SAMPLE)
        self._emotions: Emotions | None = None
        self._beginning = known(start.emotions.values)
        self._gives_frames = True
        self._track = Track(settings.ahead_s)
        self._clock = _Lateness()
        self._samples = 0
        self._read = read
        self._write = write

    async def run(self, upstream: Upstream, view: Audience) -> None:
        """Returns when the last frame and Done are sent; whatever else ends it cancels the call to
        Audio2Face. Raises PeerError, InputError, TurnAbandoned, and what `read` and `write` raise."""
        self._gives_frames = upstream.gives_frames
        try:
            async with upstream.animate(self._beginning) as stream, asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(stream, view))
                tasks.create_task(self._watch(stream, view))
                tasks.create_task(self._show(view))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    def feel(self, emotions: Emotions) -> None:
        """From the next sound on."""
        self._emotions = known(emotions)

    async def _listen(self, stream: Stream, view: Audience) -> None:
        while True:
            message = await self._read()
            if message is None:
                raise TurnAbandoned
            match message.WhichOneof("part"):
                case "audio":
                    view.heard()
                    await self._hear(stream, message.audio, view)
                case "emotions":
                    self.feel(message.emotions.values)
                case "timing":
                    stream.tell(marks_of(message.timing))
                case "end":
                    await self._end(stream)
                    return
                case part:
                    raise InputError(
                        f"after Start comes audio, timing, emotions or End, not {part or 'nothing'}"
                    )

    async def _hear(self, stream: Stream, audio: bytes, view: Audience) -> None:
        pcm = self._whole.feed(audio)
        size = int(PIECE_S * self._rate) * BYTES_PER_SAMPLE
        for start in range(0, len(pcm), size):
            if self._gives_frames:
                await self._track.room()
            piece = pcm[start : start + size]
            self._samples += len(piece) // BYTES_PER_SAMPLE
            view.sound(piece)
            heard_s = self._samples / self._rate
            self._clock.heard(heard_s)
            resampled = self._resampler.feed(piece)  # nothing yet, of a very short piece
            await stream.send(resampled, self._emotions)
            if resampled:
                self._emotions = None
            self._track.heard(heard_s)

    async def _end(self, stream: Stream) -> None:
        self._track.end()
        await stream.send(self._resampler.feed(b"", last=True) + self._silence)
        await stream.end()

    async def _watch(self, stream: Stream, view: Audience) -> None:
        async for part in stream.parts():
            if isinstance(part, Names):
                self._track.named(part.blendshapes)
                await self._write(Response(header=aurora_pb2.Header(names=part.blendshapes, fps=FPS)))
                view.header(part.blendshapes)
            else:
                self._track.put(part)
        self._track.close()

    async def _show(self, view: Audience) -> None:
        count = 0
        while (frame := await self._track.take()) is not None:
            await self._send(frame, view)
            count += 1
        if self._gives_frames and self._track.missing > 1:
            raise PeerProtocol(PEER, f"sent {self._track.missing} frames too few for the sound that it got")
        await self._write(Response(done=aurora_pb2.Done(frames=count)))

    async def _send(self, frame: Frame, view: Audience) -> None:
        t_ms = frame.t_s * 1000
        view.frame(t_ms, frame.weights)  # first: a caller that has it and hangs up has seen what is recorded
        await self._write(Response(frame=aurora_pb2.Frame(t_ms=t_ms, weights=frame.weights)))
        metrics.FRAMES.inc()
        self._clock.shown(frame.t_s)


class _Lateness:
    """When the sound of each media time came in, held against when its frame went out."""

    def __init__(self) -> None:
        self._arrivals: deque[tuple[float, float]] = deque()  # media s up to which it was there, clock s
        self._first_s: float | None = None

    def heard(self, until_s: float) -> None:
        now = time.monotonic()
        if not self._arrivals:
            self._first_s = now
        self._arrivals.append((until_s, now))

    def shown(self, t_s: float) -> None:
        now = time.monotonic()
        while len(self._arrivals) > 1 and self._arrivals[0][0] <= t_s:
            self._arrivals.popleft()
        metrics.LATENESS.observe(now - self._arrivals[0][1])
        if self._first_s is not None:
            metrics.FIRST_FRAME.observe(now - self._first_s)
            self._first_s = None
