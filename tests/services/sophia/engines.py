"""Free engines for sophia's tests: scripted servers behind the real protocols, over the real wire.

The tests say what Riva recognises and when; everything else answers at once. Real engines run in
tests/test_stack.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import numpy as np
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from riva.client.proto import riva_asr_pb2 as asr
from riva.client.proto import riva_asr_pb2_grpc as asr_grpc
from riva.client.proto import riva_tts_pb2 as tts
from riva.client.proto import riva_tts_pb2_grpc as tts_grpc

from shared.wire.aurora.v1 import aurora_pb2, aurora_pb2_grpc
from shared.wire.nova.v1 import nova_pb2, nova_pb2_grpc

WORD_MS = 250
"""Every word that the scripted TTS speaks lasts this long."""

Context = grpc.aio.ServicerContext[Any, Any]


class ScriptedRecognition(asr_grpc.RivaSpeechRecognitionServicer):
    def __init__(self) -> None:
        self.streams = 0
        self.open = 0
        self.received: list[bytes] = []
        """The audio of each stream so far."""
        self.refuse: tuple[grpc.StatusCode, str] | None = None
        self.ends_at_once = False
        """End every stream in peace before a word of it."""
        self.reads = True
        """Whether anything is taken in of what a stream is sent."""
        self._results: asyncio.Queue[asr.StreamingRecognizeResponse | grpc.StatusCode | None]
        self._results = asyncio.Queue()
        self._opened = asyncio.Event()
        self._arrived = asyncio.Event()
        self.ended = asyncio.Event()
        """A client has said that no more audio follows on its stream."""

    def interim(self, text: str, stability: float = 0.5) -> None:
        self._say(text, is_final=False, stability=stability)

    def final(self, text: str, *words: tuple[str, int, int], confidence: float = 0.9) -> None:
        """`words` are (word, start, end) in ms of the stream."""
        self._say(text, *words, is_final=True, confidence=confidence)

    def nothing(self) -> None:
        """A result without an alternative."""
        self._results.put_nowait(
            asr.StreamingRecognizeResponse(results=[asr.StreamingRecognitionResult(is_final=True)])
        )

    def fail(self, code: grpc.StatusCode) -> None:
        """Break the present stream."""
        self._results.put_nowait(code)

    def end(self) -> None:
        """End the present stream in peace."""
        self._results.put_nowait(None)

    async def opened(self) -> None:
        await asyncio.wait_for(self._opened.wait(), 30)
        self._opened.clear()

    async def has_received(self, seconds: float) -> None:
        """Wait until the present stream was sent this much audio."""
        async with asyncio.timeout(30):
            while not self.received or len(self.received[-1]) < seconds * 32000:
                self._arrived.clear()
                await self._arrived.wait()

    def _say(
        self,
        text: str,
        *words: tuple[str, int, int],
        is_final: bool,
        stability: float = 1.0,
        confidence: float = 0.9,
    ) -> None:
        result = asr.StreamingRecognitionResult(is_final=is_final, stability=stability)
        best = result.alternatives.add(transcript=text + " ", confidence=confidence)
        for word, start_ms, end_ms in words:
            best.words.add(word=word, start_time=start_ms, end_time=end_ms)
        self._results.put_nowait(asr.StreamingRecognizeResponse(results=[result]))

    async def StreamingRecognize(self, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        if self.refuse:
            await context.abort(*self.refuse)
        stream, self.streams = self.streams, self.streams + 1
        self.received.append(b"")
        self.open += 1

        async def listen() -> None:
            async for request in requests:
                self.received[stream] += request.audio_content
                self._arrived.set()
            self.ended.set()

        listener = asyncio.create_task(listen() if self.reads else asyncio.sleep(0))
        self._opened.set()
        try:
            while not self.ends_at_once and (result := await self._results.get()) is not None:
                if isinstance(result, grpc.StatusCode):
                    await context.abort(result, "as the test has it")
                else:
                    yield result
        finally:
            self.open -= 1
            listener.cancel()

    async def GetRivaSpeechRecognitionConfig(self, request: Any, context: Context) -> Any:
        return asr.RivaSpeechRecognitionConfigResponse()


class ScriptedSynthesis(tts_grpc.RivaSpeechSynthesisServicer):
    """A hum of WORD_MS for each word, in pieces of 100 ms, with the word times in the first."""

    def __init__(self) -> None:
        self.spoken: list[str] = []
        self.dictionary = ""
        """The custom dictionary of the newest request."""
        self.asked = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.hold: asyncio.Event | None = None
        """Where set, nothing is spoken until the event is."""
        self.script: list[tts.SynthesizeSpeechResponse] | None = None
        """Where set, what every request is answered."""
        self.stall: asyncio.Event | None = None
        """Where set, what follows the script waits for it."""
        self.metadata: tuple[tuple[str, str], ...] = ()

    async def SynthesizeOnline(self, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        await context.send_initial_metadata(self.metadata)
        try:
            async for request in requests:
                self.spoken.append(request.text)
                self.dictionary = request.custom_dictionary
                self.asked.set()
                if self.hold is not None:
                    await self.hold.wait()
                if self.script is not None:
                    for response in self.script:
                        yield response
                    if self.stall is not None:
                        await self.stall.wait()
                    continue
                words = request.text.split()
                response = tts.SynthesizeSpeechResponse()
                for index, word in enumerate(words):
                    response.meta.words.add(
                        word=word.strip(".,!?"), start_time=index * WORD_MS, end_time=(index + 1) * WORD_MS
                    )
                hum = _hum(len(words) * WORD_MS, request.sample_rate_hz)
                step = request.sample_rate_hz // 10 * 2
                for start in range(0, len(hum), step):
                    response.audio = hum[start : start + step]
                    yield response
                    response = tts.SynthesizeSpeechResponse()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def GetRivaSynthesisConfig(self, request: Any, context: Context) -> Any:
        return tts.RivaSynthesisConfigResponse()


def _hum(duration_ms: int, rate: int) -> bytes:
    t = np.arange(rate * duration_ms // 1000) / rate
    return (np.sin(2 * np.pi * 150 * t) * 8000).astype("<i2").tobytes()


class ScriptedNova(nova_pb2_grpc.NovaServicer):
    def __init__(self) -> None:
        self.answer = ["Hello", " there."]
        self.asked: list[list[tuple[str, str]]] = []
        self.cancelled = asyncio.Event()
        self.fail_after: int | None = None
        """Break the stream behind this many pieces."""
        self.endless = False
        """Never end the stream: the answer is still being thought of."""

    async def Generate(  # type: ignore[override]
        self, request: nova_pb2.GenerateRequest, context: Context
    ) -> AsyncIterator[nova_pb2.GenerateResponse]:
        self.asked.append([(message.role, message.content) for message in request.messages])
        finished = False
        try:
            for index, piece in enumerate(self.answer):
                if index == self.fail_after:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "triton is gone")
                yield nova_pb2.GenerateResponse(text=piece)
            if self.endless:
                await asyncio.Event().wait()
            finished = True
            yield nova_pb2.GenerateResponse(finish=nova_pb2.Finish(reason="stop"))
        finally:
            if not finished:  # CancelledError, or GeneratorExit in the middle of a write
                self.cancelled.set()


class ScriptedAurora(aurora_pb2_grpc.AuroraServicer):
    """A frame for every 1/30 s of audio that came in."""

    NAMES = ("JawOpen", "MouthClose")

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.fail = False
        self.requests: list[aurora_pb2.AnimateRequest] = []
        self.positions: list[aurora_pb2.Position] = []
        self.followed, self.unfollowed = asyncio.Event(), asyncio.Event()
        """A Follow ended: when its turn was heard to the end, and before."""
        self.frame: aurora_pb2.Frame | None = None
        """Where set, what every frame is."""

    async def Animate(  # type: ignore[override]
        self, requests: AsyncIterator[aurora_pb2.AnimateRequest], context: Context
    ) -> AsyncIterator[aurora_pb2.AnimateResponse]:
        rate, samples, frames, part = 16000, 0, 0, None
        try:
            async for request in requests:
                self.requests.append(request)
                part = request.WhichOneof("part")
                if part == "start":
                    if self.fail:
                        await context.abort(grpc.StatusCode.UNAVAILABLE, "no face today")
                    rate = request.start.sample_rate_hz
                    yield aurora_pb2.AnimateResponse(header=aurora_pb2.Header(names=self.NAMES, fps=30))
                elif part == "audio":
                    samples += len(request.audio) // 2
                while frames < samples * 30 // rate:
                    frame = self.frame or aurora_pb2.Frame(t_ms=frames * 1000 / 30, weights=[0.5, 0.0])
                    frames += 1
                    yield aurora_pb2.AnimateResponse(frame=frame)
            yield aurora_pb2.AnimateResponse(done=aurora_pb2.Done(frames=frames))
        finally:
            # A cancelled call reaches its handler as CancelledError, as GeneratorExit in the middle of
            # a write, or as requests that merely stop.
            if part != "end":
                self.cancelled.set()

    async def Follow(  # type: ignore[override]
        self, positions: AsyncIterator[aurora_pb2.Position], _: Context
    ) -> aurora_pb2.Followed:
        ended = False
        try:
            async for position in positions:
                self.positions.append(position)
                ended = position.ended
            return aurora_pb2.Followed()
        finally:
            (self.followed if ended else self.unfollowed).set()


@dataclass
class Scripted:
    """The four servers and where they listen."""

    recognition: ScriptedRecognition = field(default_factory=ScriptedRecognition)
    synthesis: ScriptedSynthesis = field(default_factory=ScriptedSynthesis)
    nova: ScriptedNova = field(default_factory=ScriptedNova)
    aurora: ScriptedAurora = field(default_factory=ScriptedAurora)
    addresses: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def scripted_engines() -> AsyncIterator[Scripted]:
    engines = Scripted()
    async with AsyncExitStack() as stack:
        for name in ("riva", "nova", "aurora"):
            server = grpc.aio.server()
            if name == "riva":
                asr_grpc.add_RivaSpeechRecognitionServicer_to_server(engines.recognition, server)
                tts_grpc.add_RivaSpeechSynthesisServicer_to_server(engines.synthesis, server)
            elif name == "nova":
                nova_pb2_grpc.add_NovaServicer_to_server(engines.nova, server)
            else:
                aurora_pb2_grpc.add_AuroraServicer_to_server(engines.aurora, server)
            servicer = health.aio.HealthServicer()
            await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
            health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
            engines.addresses[name] = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            stack.push_async_callback(server.stop, 0)
        yield engines
