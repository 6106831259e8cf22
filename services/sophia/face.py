"""aurora, over aurora.v1: frames of the face for one reply. Never needed for the voice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from math import isfinite

import grpc.aio

from services.sophia.events import Animation, AnimationHeader
from services.sophia.playback import MediaClock, SpokenWord
from shared.channels import Endpoint, explain, open_channel
from shared.errors import Overloaded, PeerProtocol
from shared.health import probe_grpc
from shared.phones import Phone
from shared.verdict import Verdict
from shared.wire.aurora.v1 import aurora_pb2 as wire
from shared.wire.aurora.v1 import aurora_pb2_grpc as wire_grpc

MAX_QUEUED = 512
"""Messages that aurora may be behind: about a minute of audio."""


class Face:
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._channel = open_channel(endpoint)
        self._stub = wire_grpc.AuroraStub(self._channel)

    async def close(self) -> None:
        await self._channel.close()

    async def probe(self) -> None:
        await probe_grpc(self._endpoint, self._channel)

    async def follow(self, session_id: str, turn: int, clock: MediaClock) -> None:
        """Tells aurora where the sound of the turn is, until `clock` has played out. Leaving it earlier
        interrupts what others see of the turn. A fault of aurora's ends it: only the picture suffers."""
        call = self._stub.Follow(metadata=self._endpoint.metadata)
        try:
            async with aclosing(clock.moves()) as moves:
                async for played_ms, paused in moves:
                    position = wire.Position(
                        session_id=session_id, turn=turn, played_ms=played_ms, paused=paused
                    )
                    await call.write(position)
            await call.write(wire.Position(session_id=session_id, turn=turn, ended=True))
            await call
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # Animate tells
        finally:
            call.cancel()

    def animate(self, session_id: str, turn: int, rate: int, emotion: str = "") -> FaceStream:
        """`emotion` holds from the beginning, at its full strength."""
        emotions = wire.Emotions(values={emotion: 1.0} if emotion else {})
        start = wire.Start(sample_rate_hz=rate, session_id=session_id, turn=turn, emotions=emotions)
        return FaceStream(self._stub, self._endpoint, start)


class FaceStream:
    """One reply. Audio goes in without waiting; frames come out in the order of media time."""

    def __init__(self, stub: wire_grpc.AuroraAsyncStub, endpoint: Endpoint, start: wire.Start) -> None:
        self._stub = stub
        self._endpoint = endpoint
        self._turn = start.turn
        self._queue: asyncio.Queue[wire.AnimateRequest | None] = asyncio.Queue(MAX_QUEUED)
        self._queue.put_nowait(wire.AnimateRequest(start=start))

    def audio(self, pcm: bytes) -> None:
        """Raises Overloaded when aurora is hopelessly behind."""
        self._put(wire.AnimateRequest(audio=pcm))

    def timing(self, words: Sequence[SpokenWord], phones: Sequence[Phone], offset_ms: float) -> None:
        """What is spoken when, of a clause that begins at `offset_ms`; before its audio, if it can be."""
        if not words and not phones:
            return
        timing = wire.Timing()
        for word in words:
            start_ms, end_ms = offset_ms + word.start_ms, offset_ms + word.end_ms
            timing.words.add(label=word.word, start_ms=start_ms, end_ms=end_ms)
        for phone in phones:
            start_ms, end_ms = offset_ms + 1e3 * phone.start_s, offset_ms + 1e3 * phone.end_s
            timing.phones.add(label=phone.label, start_ms=start_ms, end_ms=end_ms)
        self._put(wire.AnimateRequest(timing=timing))

    def emotions(self, values: Mapping[str, float]) -> None:
        """They hold for the audio that follows; none at all is a neutral face."""
        self._put(wire.AnimateRequest(emotions=wire.Emotions(values=values)))

    def end(self) -> None:
        self._put(wire.AnimateRequest(end=wire.End()))
        self._put(None)

    def _put(self, message: wire.AnimateRequest | None) -> None:
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            raise Overloaded("aurora is too far behind to animate this reply") from None

    async def frames(self) -> AsyncGenerator[AnimationHeader | Animation, None]:
        """Raises PeerError; closing it stops the work in Audio2Face."""
        call = self._stub.Animate(metadata=self._endpoint.metadata)
        verdict = Verdict(call)
        writer = asyncio.create_task(self._write(call))
        names: tuple[str, ...] = ()
        try:
            async for response in call:
                part = response.WhichOneof("part")
                if part == "header":
                    names = tuple(response.header.names)
                    yield AnimationHeader(self._turn, names, response.header.fps)
                elif part == "frame":
                    weights = tuple(response.frame.weights)
                    if len(weights) != len(names) or not all(map(isfinite, (response.frame.t_ms, *weights))):
                        raise PeerProtocol(
                            "aurora", f"a frame is not one finite weight for each of {len(names)}"
                        )
                    yield Animation(self._turn, response.frame.t_ms, weights)
        except grpc.aio.AioRpcError as error:
            raise await explain(self._endpoint, await verdict.of(error)) from None
        finally:
            call.cancel()
            writer.cancel()
            await asyncio.wait([writer])

    async def _write(
        self, call: grpc.aio.StreamStreamCall[wire.AnimateRequest, wire.AnimateResponse]
    ) -> None:
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the reading side tells
            while (message := await self._queue.get()) is not None:
                await call.write(message)
            await call.done_writing()
