"""The client of Audio2Face-3D: ProcessAudioStream over one shared channel."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc
import grpc.aio

from shared import channels
from shared.audio import BYTES_PER_SAMPLE, RATE, duration_s
from shared.channels import Endpoint
from shared.errors import PeerProtocol, PeerRefused, PeerTimeout
from shared.phones import TAKEN, Mark, Phone, said
from shared.verdict import Verdict
from shared.wire.audio2face import audio_pb2, messages_pb2, status_pb2
from shared.wire.audio2face.controller_pb2_grpc import A2FControllerServiceStub
from shared.wire.face.v1 import face_pb2

log = logging.getLogger(__name__)

PEER = "audio2face"

LAG_S = 1.0
"""Audio2Face may keep this much sound before it owes the frames of it."""
LEAD_S = 1.0
"""How far past its sound a frame may lie: Audio2Face fills its last window up."""
PIECE_S = 1.0
"""Sound goes out in pieces of at most this length; Audio2Face takes none above 10 s."""
MAX_MARKS = 1024
"""Phones and words that may lie ahead of the sound: a minute of speech. What is more is not told."""
PROBE_MS = 40
"""Silence that /readyz has animated: one frame's worth."""

Emotions = Mapping[str, float]
Request = messages_pb2.AudioWithEmotionStream
Response = messages_pb2.A2F3DAnimationDataStream
Call = grpc.aio.StreamStreamCall[Request, Response]


@dataclass(frozen=True)
class Names:
    """The blendshapes, in the order of every Frame's weights."""

    blendshapes: tuple[str, ...]


@dataclass(frozen=True)
class Frame:
    t_s: float
    """From the first sample of the stream."""
    weights: tuple[float, ...]


class Audio2Face:
    """Made on the event loop that uses it."""

    def __init__(self, endpoint: Endpoint, *, write_timeout_s: float, frame_timeout_s: float) -> None:
        self.endpoint = endpoint
        self.write_timeout_s = write_timeout_s
        self.frame_timeout_s = frame_timeout_s
        self._channel = channels.open_channel(endpoint)
        self._stub = A2FControllerServiceStub(self._channel)
        self.takes_marks = False
        """What it said last. Until it has said anything, faces are made from sound alone."""

    async def close(self) -> None:
        await self._channel.close()

    def stream(self, emotions: Emotions) -> FaceStream:
        return FaceStream(self, emotions)

    def call(self) -> Call:
        return self._stub.ProcessAudioStream(metadata=self.endpoint.metadata)

    async def probe(self) -> None:
        """Has a moment of silence animated; raises PeerError unless that ends in SUCCESS."""
        async with self.stream({}) as stream:
            await stream.send(bytes(RATE * PROBE_MS // 1000 * BYTES_PER_SAMPLE))
            await stream.end()
            async for _ in stream.parts():
                pass


class FaceStream:
    """One ProcessAudioStream at 16 kHz. Leaving the context cancels what is not finished.

    Every method raises PeerError; sending and reading may go on at once.
    """

    def __init__(self, audio2face: Audio2Face, emotions: Emotions) -> None:
        self._audio2face = audio2face
        self._call = call = audio2face.call()
        self._emotions = emotions
        self._marks: list[Mark] = []  # not sent yet
        # Iterating reads what is left after a failed write, which read() does not; the status comes after it.
        self._responses = aiter(call)
        self._verdict = Verdict(call)
        self._debt = _Debt(audio2face.frame_timeout_s)
        self._names: tuple[str, ...] = ()
        self._introduced = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    async def open(self) -> None:
        """Says what sound will come. Where no `async with` fits, `cancel` must follow in its place."""
        audio = audio_pb2.AudioHeader(
            audio_format=audio_pb2.AudioHeader.AUDIO_FORMAT_PCM,
            channel_count=1,
            samples_per_second=RATE,
            bits_per_sample=8 * BYTES_PER_SAMPLE,
        )
        header = messages_pb2.AudioWithEmotionStreamHeader(
            audio_header=audio,
            emotion_params=messages_pb2.EmotionParameters(beginning_emotion=self._emotions),
        )
        try:
            await self._write(Request(audio_stream_header=header))
        except BaseException:
            self._call.cancel()
            raise

    def cancel(self) -> None:
        self._call.cancel()

    async def send(self, pcm: bytes, emotions: Emotions | None = None) -> None:
        """PCM16 mono at 16 kHz; `emotions` hold from its first sample on."""
        size = int(PIECE_S * RATE) * BYTES_PER_SAMPLE
        for start in range(0, len(pcm), size):
            piece = messages_pb2.AudioWithEmotion(audio_buffer=pcm[start : start + size])
            if emotions is not None and start == 0:
                piece.emotions.add(time_code=self._debt.sent_s, emotion=emotions)
            await self._write(self._with_marks(Request(audio_with_emotion=piece)))
            self._debt.sent(duration_s(piece.audio_buffer))

    def tell(self, marks: Sequence[Mark]) -> None:
        """Phones and words, in s from the first sample of this stream; they go with the next sound."""
        ahead = [mark for mark in (*self._marks, *marks) if mark.end_s > self._debt.sent_s]
        self._marks = ahead[:MAX_MARKS]

    def _with_marks(self, message: Request) -> Request:
        """Its bytes, then those of a message of ours: see proto/face/v1/face.proto."""
        if self._audio2face.takes_marks and self._marks:
            timing = face_pb2.Timing()
            for mark in self._marks:
                kind = timing.phones if isinstance(mark, Phone) else timing.words
                kind.add(label=mark.label, start_s=mark.start_s, end_s=mark.end_s)
            message.MergeFromString(timing.SerializeToString())
            self._marks.clear()
        return message

    async def end(self) -> None:
        self._debt.end()
        await self._write(Request(end_of_audio=Request.EndOfAudio()))
        await self._call.done_writing()

    async def parts(self) -> AsyncIterator[Names | Frame]:
        """Names once, then frames whose times never fall; ends after Audio2Face's SUCCESS."""
        finished = False
        while (message := await self._read()) is not None:
            match message.WhichOneof("stream_part"):
                case "animation_data_stream_header":
                    yield self._named(message.animation_data_stream_header)
                case "animation_data":
                    for pose in message.animation_data.skel_animation.blend_shape_weights:
                        yield self._frame(pose.time_code, tuple(pose.values))
                case "status":
                    finished |= _judged(message.status)
                case _:
                    pass  # events tell nothing that the status does not
        if not finished:
            raise PeerProtocol(PEER, "ended its stream without a final status")
        if not self._debt.ended:
            raise PeerProtocol(PEER, "ended its stream before the sound had ended")

    def _named(self, header: messages_pb2.A2F3DAnimationDataStreamHeader) -> Names:
        names = tuple(header.skel_animation_header.blend_shapes)
        if self._names or not names or len(set(names)) != len(names):
            raise PeerProtocol(PEER, "sent a header without names, with a name twice, or a second header")
        self._names = names
        self._debt.named()
        return Names(names)

    def _frame(self, t_s: float, weights: tuple[float, ...]) -> Frame:
        if len(weights) != len(self._names):
            raise PeerProtocol(PEER, f"sent {len(weights)} weights for {len(self._names)} names")
        if not all(map(math.isfinite, (t_s, *weights))):
            raise PeerProtocol(PEER, "sent a frame with a weight or time that is no number")
        if not self._debt.seen_s <= t_s <= self._debt.sent_s + LEAD_S:
            raise PeerProtocol(
                PEER,
                f"sent a frame for {t_s:.3f} s after one for {self._debt.seen_s:.3f} s, "
                f"of {self._debt.sent_s:.3f} s of sound",
            )
        self._debt.seen(t_s)
        return Frame(t_s, weights)

    async def _read(self) -> Response | None:
        try:
            async with self._debt.deadline():
                message = await anext(self._responses, None)
                if message is not None and not self._introduced:
                    self._introduced = True
                    self._audio2face.takes_marks = said(TAKEN, await self._call.initial_metadata())
                return message
        except TimeoutError:
            raise PeerTimeout(PEER, "owes frames and sends none") from None
        except grpc.aio.AioRpcError as error:
            ending = await self._verdict.of(error)
            if ending.code() is grpc.StatusCode.OK:
                return None
            raise await channels.explain(self._audio2face.endpoint, ending) from None

    async def _write(self, message: Request) -> None:
        # Of a call that ended early gRPC tells the writer little and the reader why: the reader raises.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            try:
                async with asyncio.timeout(self._audio2face.write_timeout_s):
                    await self._call.write(message)
            except TimeoutError:
                raise PeerTimeout(PEER, "takes no more sound") from None


class _Debt:
    """How much sound Audio2Face was given and has not shown, and by when it must show more of it: what
    shows nothing new puts nothing off."""

    def __init__(self, timeout_s: float) -> None:
        self.sent_s = 0.0
        self.seen_s = 0.0
        self.ended = False
        self._timeout_s = timeout_s
        self._due_at: float | None = None  # by the loop's clock
        self._reading: asyncio.Timeout | None = None

    def sent(self, seconds: float) -> None:
        self.sent_s += seconds
        self._watch()

    def end(self) -> None:
        self.ended = True
        self._watch()

    def named(self) -> None:
        self._due_at = None

    def seen(self, t_s: float) -> None:
        if t_s > self.seen_s:
            self._due_at = None
        self.seen_s = t_s

    @asynccontextmanager
    async def deadline(self) -> AsyncIterator[None]:
        """Around one read. Raises TimeoutError once frames have been owed for too long."""
        async with asyncio.timeout(None) as reading:
            self._reading = reading
            self._watch()
            try:
                yield
            finally:
                self._reading = None

    def _watch(self) -> None:
        """Time counts only while somebody reads: who does not cannot be shown anything."""
        if self._reading is None or not (self.ended or self.sent_s - self.seen_s > LAG_S):
            return
        if self._due_at is None:
            self._due_at = asyncio.get_running_loop().time() + self._timeout_s
        if self._reading.when() != self._due_at:
            self._reading.reschedule(self._due_at)


def _judged(status: status_pb2.Status) -> bool:
    """Whether this status is the final, good one. Raises PeerRefused for a bad one."""
    if status.code == status_pb2.Status.ERROR:
        raise PeerRefused(PEER, status.message or "failed and does not say why")
    if status.code == status_pb2.Status.WARNING:
        log.warning("%s warns: %s", PEER, status.message)
    return status.code == status_pb2.Status.SUCCESS
