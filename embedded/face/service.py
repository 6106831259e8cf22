"""A2FControllerService as Audio2Face-3D serves it: one bidirectional call for each piece of speech."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc.aio

from embedded.face import metrics
from embedded.face.animator import Animator, Step
from embedded.face.blendshapes import NAMES
from embedded.face.expression import POSES, Emotions
from embedded.face.header import read_header
from embedded.face.settings import FaceSettings
from embedded.face.timed import TimedSpeech
from embedded.face.timing import read_marks
from shared import channels
from shared.audio import BYTES_PER_SAMPLE
from shared.errors import AudioError, InputError, Overloaded, VoxloopError
from shared.outgoing import Outgoing
from shared.phones import TAKEN
from shared.wire.audio2face import animation_pb2, messages_pb2, status_pb2
from shared.wire.audio2face.controller_pb2_grpc import A2FControllerServiceServicer

log = logging.getLogger(__name__)

Request = messages_pb2.AudioWithEmotionStream
Response = messages_pb2.A2F3DAnimationDataStream
Context = grpc.aio.ServicerContext[Request, Response]


class FaceServicer(A2FControllerServiceServicer):
    def __init__(self, settings: FaceSettings) -> None:
        self._settings = settings
        self._active = 0

    # The stubs know generators only; with context.write a client that does not read meets a deadline.
    async def ProcessAudioStream(  # type: ignore[override]  # noqa: N802 - the protocol's name
        self, _: object, context: Any
    ) -> None:
        outgoing = Outgoing[Response](context, self._settings.write_timeout_s)
        try:
            with self._counted():
                await _Stream(self._settings, context, outgoing).run()
        except _ClientGone:
            await outgoing.abort(grpc.StatusCode.CANCELLED, "the stream ended without end_of_audio")
        except VoxloopError as error:
            log.info("stream refused: %s", error)
            await outgoing.abort(channels.status_of(error), str(error))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Holds one of the streams. Given back before the abort, which waits for a client that reads."""
        if self._active >= self._settings.max_streams:
            metrics.STREAMS.labels("refused").inc()
            raise Overloaded(f"all {self._settings.max_streams} streams of this server are in use")
        self._active += 1
        metrics.ACTIVE.inc()
        outcome = "cancelled"
        try:
            yield
            outcome = "done"
        except VoxloopError:
            outcome = "refused"
            raise
        finally:
            self._active -= 1
            metrics.ACTIVE.dec()
            metrics.STREAMS.labels(outcome).inc()


class _ClientGone(Exception):
    """The client closed its side before end_of_audio, which is how some of them cancel."""


class _Stream:
    """One call, from the header to the final status."""

    def __init__(self, settings: FaceSettings, context: Context, outgoing: Outgoing[Response]) -> None:
        self._settings = settings
        self._context = context
        self._outgoing = outgoing
        self._write = outgoing.write

    async def run(self) -> None:
        await self._outgoing.introduce(TAKEN)
        header = await self._read()
        if header.WhichOneof("stream_part") != "audio_stream_header":
            raise InputError("the first message must be audio_stream_header")
        parsed = read_header(header.audio_stream_header)
        animator = Animator(parsed)
        await self._write(_opening(header.audio_stream_header))
        while (message := await self._read()).WhichOneof("stream_part") != "end_of_audio":
            if message.WhichOneof("stream_part") != "audio_with_emotion":
                raise InputError(
                    "after audio_stream_header only audio_with_emotion and end_of_audio may come"
                )
            read_marks(message, animator.timed)
            await self._animate(animator, parsed.emotions, message.audio_with_emotion, parsed.rate)
        await self._send(animator.finish())
        await self._close(parsed.emotions, animator.timed)

    async def _animate(
        self, animator: Animator, emotions: Emotions, sound: messages_pb2.AudioWithEmotion, rate: int
    ) -> None:
        pcm = sound.audio_buffer
        if len(pcm) % BYTES_PER_SAMPLE:
            raise AudioError(f"audio_buffer holds an odd number of bytes ({len(pcm)}), not whole samples")
        seconds = len(pcm) / (BYTES_PER_SAMPLE * rate)
        if seconds > self._settings.max_buffer_s:
            raise AudioError(f"audio_buffer holds {seconds:.1f} s; at most {self._settings.max_buffer_s:g} s")
        if animator.received_s + seconds > self._settings.max_clip_s:
            raise AudioError(f"the stream is longer than {self._settings.max_clip_s:g} s")
        for change in sound.emotions:
            emotions.add(change.time_code, change.emotion)
        metrics.AUDIO.inc(seconds)
        for steps in animator.feed(pcm):
            await self._send(steps)
            await asyncio.sleep(0)  # a long buffer must not keep the other streams waiting

    async def _send(self, steps: Sequence[Step]) -> None:
        """In one message, as NVIDIA's animation data may hold a sequence of poses with its sound: a message
        costs more than the frames in it."""
        if steps:
            await self._write(_animation(steps))
            metrics.FRAMES.inc(len(steps))

    async def _close(self, emotions: Emotions, timed: TimedSpeech) -> None:
        await self._write(
            Response(event=messages_pb2.Event(event_type=messages_pb2.END_OF_A2F_AUDIO_PROCESSING))
        )
        if emotions.unknown:
            known = ", ".join(POSES)
            await self._write(
                _status(status_pb2.Status.WARNING, f"unknown emotions were passed over; known are {known}")
            )
        if timed.faults:
            faults = ", ".join(f"{count} {fault}" for fault, count in timed.faults.most_common())
            await self._write(
                _status(status_pb2.Status.WARNING, f"phones or words were passed over: {faults}")
            )
        await self._write(_status(status_pb2.Status.SUCCESS, "the audio is processed"))

    async def _read(self) -> Request:
        try:
            async with asyncio.timeout(self._settings.idle_timeout_s):
                message = await self._context.read()
        except TimeoutError:
            raise InputError(f"nothing came for {self._settings.idle_timeout_s:g} s") from None
        if isinstance(message, Request):
            return message
        raise _ClientGone


def _opening(header: messages_pb2.AudioWithEmotionStreamHeader) -> Response:
    return Response(
        animation_data_stream_header=messages_pb2.A2F3DAnimationDataStreamHeader(
            audio_header=header.audio_header,
            skel_animation_header=animation_pb2.SkelAnimationHeader(blend_shapes=NAMES),
            start_time_code_since_epoch=time.time(),
        )
    )


def _animation(steps: Sequence[Step]) -> Response:
    poses = [
        animation_pb2.FloatArrayWithTimeCode(time_code=step.time_s, values=step.weights) for step in steps
    ]
    sound = b"".join(step.audio for step in steps)
    return Response(
        animation_data=animation_pb2.AnimationData(
            skel_animation=animation_pb2.SkelAnimation(blend_shape_weights=poses),
            audio=animation_pb2.AudioWithTimeCode(time_code=steps[0].audio_time_s, audio_buffer=sound),
        )
    )


def _status(code: status_pb2.Status.Code.ValueType, message: str) -> Response:
    return Response(status=status_pb2.Status(code=code, message=message))
