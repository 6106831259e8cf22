"""What the tests of aurora share: a caller of Animate, and faces that misbehave on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

from shared.verdict import Verdict
from shared.wire.audio2face import animation_pb2, messages_pb2, status_pb2
from shared.wire.audio2face.controller_pb2_grpc import (
    A2FControllerServiceServicer,
    add_A2FControllerServiceServicer_to_server,
)
from shared.wire.aurora.v1 import aurora_pb2
from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraStub
from tests.fixtures.face import AuroraServer

if TYPE_CHECKING:  # the stubs know the kind for asyncio, the module does not
    from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraAsyncStub

Request = aurora_pb2.AnimateRequest
FaceResponse = messages_pb2.A2F3DAnimationDataStream
FaceScript = Callable[[Any], Awaitable[None]]
"""Answers one ProcessAudioStream through its grpc.aio context."""
MOUTH = ("Jaw", "Mouth", "Tongue")


@dataclass
class Shown:
    """What aurora answered to one turn."""

    names: list[str] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)
    weights: list[list[float]] = field(default_factory=list)
    done: int | None = None

    def take(self, message: aurora_pb2.AnimateResponse) -> None:
        match message.WhichOneof("part"):
            case "header":
                assert not self.names
                self.names += message.header.names
            case "frame":
                assert self.names
                assert self.done is None
                self.times_ms.append(message.frame.t_ms)
                self.weights.append(list(message.frame.weights))
            case "done":
                self.done = message.done.frames

    def shape(self, name: str) -> list[float]:
        index = self.names.index(name)
        return [weights[index] for weights in self.weights]

    def mouth(self, frame: int) -> float:
        """The strongest weight of the mouth in one frame."""
        return max(w for n, w in zip(self.names, self.weights[frame], strict=True) if n.startswith(MOUTH))


def start(rate: int = 16000, session: str = "s", turn: int = 1, **emotions: float) -> Request:
    return Request(
        start=aurora_pb2.Start(
            sample_rate_hz=rate,
            session_id=session,
            turn=turn,
            emotions=aurora_pb2.Emotions(values=emotions),
        )
    )


def audio(pcm: bytes, size: int = 0) -> list[Request]:
    """In pieces of `size` bytes, or in one."""
    step = size or len(pcm) or 1
    return [Request(audio=pcm[at : at + step]) for at in range(0, len(pcm), step)]


def phones(*marks: tuple[str, float, float]) -> Request:
    """Label, start and end in ms."""
    timing = aurora_pb2.Timing()
    for label, start_ms, end_ms in marks:
        timing.phones.add(label=label, start_ms=start_ms, end_ms=end_ms)
    return Request(timing=timing)


END = Request(end=aurora_pb2.End())


async def animate(stub: AuroraAsyncStub, requests: Sequence[Request], pause_s: float = 0.0) -> Shown:
    """One turn to its end. Raises AioRpcError with the status that aurora gave."""
    call = stub.Animate(timeout=30)
    verdict = Verdict(call)
    shown = Shown()

    async def write() -> None:
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for request in requests:
                await call.write(request)
                await asyncio.sleep(pause_s)
            await call.done_writing()

    writer = asyncio.create_task(write())
    try:
        async for message in call:
            shown.take(message)
    except grpc.aio.AioRpcError as error:
        raise await verdict.of(error) from None
    finally:
        await writer
    return shown


@pytest.fixture(scope="session")
async def stub(aurora: AuroraServer) -> AsyncIterator[AuroraAsyncStub]:
    async with grpc.aio.insecure_channel(aurora.target) as channel:
        yield AuroraStub(channel)


@asynccontextmanager
async def scripted_face(
    script: FaceScript, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    """An Audio2Face that does what no honest one does; yields its address."""

    class Servicer(A2FControllerServiceServicer):
        async def ProcessAudioStream(  # type: ignore[override]
            self, _: object, context: Any
        ) -> None:
            await script(context)

    server = grpc.aio.server()
    add_A2FControllerServiceServicer_to_server(Servicer(), server)
    address = "localhost:0" if credentials else "127.0.0.1:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield f"localhost:{port}" if credentials else f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def face_header(*names: str) -> FaceResponse:
    shapes = animation_pb2.SkelAnimationHeader(blend_shapes=names)
    return FaceResponse(
        animation_data_stream_header=messages_pb2.A2F3DAnimationDataStreamHeader(skel_animation_header=shapes)
    )


def face_frame(time_s: float, *weights: float) -> FaceResponse:
    pose = animation_pb2.FloatArrayWithTimeCode(time_code=time_s, values=weights)
    return FaceResponse(
        animation_data=animation_pb2.AnimationData(
            skel_animation=animation_pb2.SkelAnimation(blend_shape_weights=[pose])
        )
    )


def face_status(code: status_pb2.Status.Code.ValueType, message: str = "") -> FaceResponse:
    return FaceResponse(status=status_pb2.Status(code=code, message=message))


SUCCESS = face_status(status_pb2.Status.SUCCESS)


def answers(*responses: FaceResponse) -> FaceScript:
    """Hears everything, then says this."""

    async def script(context: Any) -> None:
        while await context.read() != grpc.aio.EOF:
            pass
        for response in responses:
            await context.write(response)

    return script
