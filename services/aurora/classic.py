"""Omniverse Audio2Face (2022 and 2023): sound in by PushAudioStream, the rest of it by REST.

It plays the sound on a face of its own and sends the frames by Live Link to where that is connected; none
come back here. It has no call that stops what it was given, so sound is sent only a little ahead of its time:
after an interruption no more than AHEAD_S of it is left to be played.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import grpc
import grpc.aio
import numpy as np

from services.aurora.audio2face import PEER, Emotions, Frame, Names
from shared import channels
from shared.audio import BYTES_PER_SAMPLE, RATE
from shared.channels import Endpoint
from shared.emotions import EMOTIONS
from shared.errors import PeerError, PeerProtocol, PeerRefused, PeerTimeout, PeerUnavailable
from shared.phones import Mark
from shared.wire.audio2face import classic_pb2 as wire
from shared.wire.audio2face.classic_pb2_grpc import Audio2FaceStub

AHEAD_S = 0.3
CHUNK_BYTES = RATE // 10 * BYTES_PER_SAMPLE
"""100 ms, as NVIDIA's own client sends."""

Call = grpc.aio.StreamUnaryCall[wire.PushAudioStreamRequest, wire.PushAudioStreamResponse]


@dataclass(frozen=True)
class Scene:
    """The prims of Audio2Face's stage, and where its REST API is ("" where it is not used)."""

    rest: str
    player: str
    core: str
    livelink: str
    usd: str
    """A stage for Audio2Face to load first, by its own path to it; "" leaves what is open."""


class ClassicAudio2Face:
    """Made on the event loop that uses it."""

    gives_frames = False

    def __init__(self, endpoint: Endpoint, scene: Scene, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._scene = scene
        self._timeout_s = timeout_s
        self._channel = channels.open_channel(endpoint)
        self._stub = Audio2FaceStub(self._channel)
        self._rest = _Rest(scene.rest, timeout_s) if scene.rest else None
        self._set_up = asyncio.Lock()
        self._is_set_up = False

    async def close(self) -> None:
        await self._channel.close()
        if self._rest:
            await self._rest.close()

    def animate(self, emotions: Emotions) -> ClassicStream:
        return ClassicStream(self, emotions)

    async def probe(self) -> None:
        """The player's port takes a connection, and REST says that it runs."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._channel.channel_ready()
        except TimeoutError:
            raise PeerUnavailable(PEER, f"nobody answers at {self._endpoint.target}") from None
        if self._rest:
            await self._rest.get("/status")

    def push(self) -> Call:
        return self._stub.PushAudioStream(metadata=self._endpoint.metadata)

    async def set_up(self) -> None:
        """The stage and its Live Link, before the first turn and after each fault: it may have restarted."""
        async with self._set_up:
            if self._rest and not self._is_set_up:
                if self._scene.usd:
                    await self._rest.post("/A2F/USD/Load", {"file_name": self._scene.usd})
                if self._scene.livelink:
                    body = {"node_path": self._scene.livelink, "value": True}
                    await self._rest.post("/A2F/Exporter/ActivateStreamLivelink", body)
                self._is_set_up = True

    def failed(self) -> None:
        self._is_set_up = False

    async def show(self, emotions: Emotions) -> None:
        """All ten are said, or an earlier one would stay."""
        if self._rest:
            strengths = dict.fromkeys(EMOTIONS, 0.0) | dict(emotions)
            body = {"a2f_instance": self._scene.core, "emotions": strengths}
            await self._rest.post("/A2F/A2E/SetEmotionByName", body)

    def start_marker(self) -> wire.PushAudioStreamRequest:
        start = wire.PushAudioRequestStart(instance_name=self._scene.player, samplerate=RATE)
        return wire.PushAudioStreamRequest(start_marker=start)

    async def write(self, call: Call, message: wire.PushAudioStreamRequest) -> None:
        # Of a call that ended early gRPC tells the writer little and the reader why: the reader raises.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            try:
                async with asyncio.timeout(self._timeout_s):
                    await call.write(message)
            except TimeoutError:
                raise PeerTimeout(PEER, "takes no more sound") from None

    async def answer(self, call: Call) -> wire.PushAudioStreamResponse:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise await channels.explain(self._endpoint, error) from None

    @property
    def timeout_s(self) -> float:
        return self._timeout_s


class ClassicStream:
    """One PushAudioStream."""

    def __init__(self, audio2face: ClassicAudio2Face, emotions: Emotions) -> None:
        self._audio2face = audio2face
        self._emotions = emotions
        self._call = audio2face.push()
        self._begun_at: float | None = None
        self._sent_s = 0.0
        self._ended = False
        self._reading: asyncio.Timeout | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._audio2face.set_up()
            await self._audio2face.show(self._emotions)
            await self._audio2face.write(self._call, self._audio2face.start_marker())
        except BaseException:
            self._leave(failed=True)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(failed=_is_its_fault(error))

    def _leave(self, *, failed: bool) -> None:
        if failed:
            self._audio2face.failed()
        self._call.cancel()

    async def send(self, pcm: bytes, emotions: Emotions | None = None) -> None:
        if emotions is not None:
            await self._audio2face.show(emotions)
        for at in range(0, len(pcm), CHUNK_BYTES):
            chunk = pcm[at : at + CHUNK_BYTES]
            await self._in_time(len(chunk) / (BYTES_PER_SAMPLE * RATE))
            samples = np.frombuffer(chunk, "<i2").astype("<f4") / 32768.0
            message = wire.PushAudioStreamRequest(audio_data=samples.astype("<f4").tobytes())
            await self._audio2face.write(self._call, message)

    def tell(self, marks: Sequence[Mark]) -> None:
        """It knows none."""

    async def _in_time(self, seconds: float) -> None:
        """Waits until the sound that was sent is played but for AHEAD_S of it. A pause of the caller's was a
        pause of the player's too: what follows it begins then."""
        now = asyncio.get_running_loop().time()
        if self._begun_at is None or now > self._begun_at + self._sent_s:
            self._begun_at, self._sent_s = now, 0.0
        await asyncio.sleep(self._begun_at + self._sent_s - AHEAD_S - now)
        self._sent_s += seconds

    async def end(self) -> None:
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.done_writing()
        self._ended = True
        if self._reading:
            self._reading.reschedule(asyncio.get_running_loop().time() + self._audio2face.timeout_s)

    async def parts(self) -> AsyncIterator[Names | Frame]:
        """None: they go by Live Link."""
        try:
            async with asyncio.timeout(self._audio2face.timeout_s if self._ended else None) as self._reading:
                answer = await self._audio2face.answer(self._call)
        except TimeoutError:
            raise PeerTimeout(PEER, "does not say whether it took the sound") from None
        if not answer.success:
            raise PeerRefused(PEER, answer.message or "refused the sound and does not say why")
        if not self._ended:
            raise PeerProtocol(PEER, "ended its stream before the sound had ended")
        return
        yield  # what makes this a generator


def _is_its_fault(error: BaseException | None) -> bool:
    """A caller's fault is no reason to load the stage anew."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(PeerError) is not None
    return isinstance(error, PeerError)


class _Rest:
    """Audio2Face's REST API. Raises PeerError."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s))

    async def close(self) -> None:
        await self._client.close()

    async def get(self, path: str) -> None:
        await self._ask("GET", path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> None:
        await self._ask("POST", path, body)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> None:
        try:
            async with self._client.request(method, self._url + path, json=body) as response:
                if response.status != 200:
                    raise PeerRefused(PEER, f"answered {path} with status {response.status}")
                if method == "POST":
                    _judge(path, await response.json())
        except TimeoutError:
            raise PeerTimeout(PEER, f"does not answer {path}") from None
        except aiohttp.ClientConnectionError:
            raise PeerUnavailable(PEER, f"nobody answers at {self._url}") from None
        except (aiohttp.ClientError, ValueError):
            raise PeerProtocol(PEER, f"its answer to {path} is no JSON over HTTP") from None


def _judge(path: str, answer: object) -> None:
    """`{"status": "OK" | "ERROR", "message": …}` comes with HTTP status 200 either way."""
    status = answer.get("status") if isinstance(answer, dict) else None
    if status != "OK":
        raise PeerRefused(PEER, f"answered {path} with {str(status)[:20]!r}")
