"""Sound of any length through Audio2Face, whose streams end at 300 s: one stream is followed by the next.

Both interfaces are FaceStream's, and so are the errors. The seam lies in a pause of the speech where there is
one, so that no movement of the mouth is cut in two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from services.aurora import metrics
from services.aurora.audio2face import MAX_MARKS, PEER, Audio2Face, Emotions, FaceStream, Frame, Names
from shared.audio import BYTES_PER_SAMPLE, RATE, is_silent
from shared.errors import PeerProtocol
from shared.phones import Mark

SEAM_SAMPLES = RATE // 10
"""Seams lie on this grid, which is three frames at 30 fps: the frames of both sides stay evenly spaced."""
PATIENCE_S = 30.0
"""How long a pause in the speech is waited for."""
QUIET_SAMPLES = RATE // 5
"""Of silence before a seam: the mouth is at rest, for the end of a stream would shut it at once."""


class LongStream:
    """`open_stream` begins one stream with the emotions that hold then; after `rotate_s` seconds of sound, or
    up to PATIENCE_S later, the next one follows."""

    def __init__(
        self, open_stream: Callable[[Emotions], FaceStream], emotions: Emotions, rotate_s: float
    ) -> None:
        self._open_stream = open_stream
        self._emotions = emotions
        self._rotate = int(rotate_s * RATE)
        self._samples = 0  # that the newest stream got
        self._streams: deque[tuple[FaceStream, float]] = deque()  # not all read yet; when each began
        self._begun = 0  # samples before the newest stream
        self._marks: list[Mark] = []  # that lie ahead of the sound
        self._quiet = 0  # samples of silence that came last, while a seam is looked for

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream, _ in self._streams:
            stream.cancel()

    async def send(self, pcm: bytes, emotions: Emotions | None = None) -> None:
        """PCM16 mono at 16 kHz; `emotions` hold from its first sample on."""
        if emotions is not None:
            self._emotions = emotions
        for piece in self._cut(pcm):
            if self._is_due(piece):
                await self._follow()
                emotions = None  # the new stream has begun with them
            await self._feed(piece, emotions)
            emotions = None

    def tell(self, marks: Sequence[Mark]) -> None:
        """Phones and words, in s from the first sample of all; beyond a seam they are told again."""
        heard_s = (self._begun + self._samples) / RATE
        ahead = [mark for mark in (*self._marks, *marks) if mark.end_s > heard_s]
        self._marks = ahead[:MAX_MARKS]
        self._pass_on(marks)

    async def end(self) -> None:
        await self._streams[-1][0].end()

    async def parts(self) -> AsyncIterator[Names | Frame]:
        """Names once, then frames whose times count from the first sample of all."""
        names: Names | None = None
        while self._streams:
            stream, begun_s = self._streams[0]
            async for part in stream.parts():
                if isinstance(part, Frame):
                    if len(self._streams) == 1 or begun_s + part.t_s < self._streams[1][1] - 1e-6:
                        yield Frame(begun_s + part.t_s, part.weights)
                elif names is None:
                    names = part
                    yield part
                elif part != names:
                    raise PeerProtocol(PEER, "named other blendshapes in the middle of one sound")
            self._streams.popleft()

    def _cut(self, pcm: bytes) -> Iterator[bytes]:
        """Where a seam is looked for, into pieces that end on its grid."""
        at = 0
        while at < len(pcm) and self._samples + SEAM_SAMPLES > self._rotate:
            end = at + (SEAM_SAMPLES - self._samples % SEAM_SAMPLES) * BYTES_PER_SAMPLE
            yield pcm[at:end]
            at = end
        if at < len(pcm) or not pcm:
            yield pcm[at:]

    def _is_due(self, piece: bytes) -> bool:
        waited = self._samples - self._rotate
        if waited < 0 or self._samples % SEAM_SAMPLES or not piece:
            return False
        return waited >= PATIENCE_S * RATE or (self._quiet >= QUIET_SAMPLES and is_silent(piece))

    async def _feed(self, pcm: bytes, emotions: Emotions | None) -> None:
        await self._streams[-1][0].send(pcm, emotions)
        samples = len(pcm) // BYTES_PER_SAMPLE
        self._samples += samples
        if self._samples > self._rotate:
            self._quiet = self._quiet + samples if is_silent(pcm) else 0

    async def _follow(self) -> None:
        """The new stream first: a reader that finds none after the old one would take it for the end."""
        old, _ = self._streams[-1]
        self._begun += self._samples
        await self._begin()
        await old.end()
        metrics.ROTATIONS.inc()

    async def _begin(self) -> None:
        stream = self._open_stream(self._emotions)
        await stream.open()
        self._streams.append((stream, self._begun / RATE))
        self._samples = self._quiet = 0
        self._pass_on(self._marks)

    def _pass_on(self, marks: Sequence[Mark]) -> None:
        stream, begun_s = self._streams[-1]
        stream.tell(
            [
                replace(mark, start_s=max(0.0, mark.start_s - begun_s), end_s=mark.end_s - begun_s)
                for mark in marks
            ]
        )


class LongAudio2Face:
    """Audio2Face-3D, for turns of any length."""

    gives_frames = True

    def __init__(self, audio2face: Audio2Face, rotate_s: float) -> None:
        self._audio2face = audio2face
        self._rotate_s = rotate_s

    def animate(self, emotions: Emotions) -> LongStream:
        return LongStream(self._audio2face.stream, emotions, self._rotate_s)

    async def probe(self) -> None:
        await self._audio2face.probe()

    async def close(self) -> None:
        await self._audio2face.close()
