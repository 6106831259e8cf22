"""A wire-tap between sophia and the speech server: it hands everything on, and keeps what was synthesised.

espeak-ng does not speak a text twice to the same samples. So what a listener has heard is known only from
the very synthesis that he was sent: its samples, and the word times that came with them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import grpc.aio
from riva.client.proto import riva_tts_pb2 as tts

from services.sophia.playback import SpokenWord
from shared.audio import BYTES_PER_SAMPLE, RATE
from shared.channels import OPTIONS, Endpoint, open_channel

SPEAKS = "/nvidia.riva.tts.RivaSpeechSynthesis/SynthesizeOnline"
MS = RATE // 1000 * BYTES_PER_SAMPLE
"""Bytes of a millisecond, at the one rate that is listened at."""
KEPT = 500
"""Syntheses; a reply has some ten."""


@dataclass
class Take:
    """One synthesis as far as it went; its words' times count from its first sample."""

    pcm: bytes = b""
    words: list[SpokenWord] = field(default_factory=list)

    def add(self, response: Any) -> None:
        self.pcm += response.audio
        self.words += [SpokenWord(word.word, word.start_time, word.end_time) for word in response.meta.words]

    def agrees(self, received: bytes) -> bool:
        """`received` begins with this synthesis, or ends within it."""
        return bool(self.pcm) and (received.startswith(self.pcm) or self.pcm.startswith(received))


class Tap(grpc.GenericRpcHandler):
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._takes: deque[Take] = deque(maxlen=KEPT)

    def words(self, received: bytes) -> list[SpokenWord] | None:
        """The words of a reply's sound, with their times in it; None where it is not what was synthesised."""
        words: list[SpokenWord] = []
        at = 0
        while at < len(received):
            rest = received[at:]
            take = next((take for take in reversed(self._takes) if take.agrees(rest)), None)
            if take is None:
                return None
            began_ms = at / MS
            words += [
                SpokenWord(one.word, began_ms + one.start_ms, began_ms + one.end_ms) for one in take.words
            ]
            at += len(take.pcm)
        return words

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """Every call as a stream both ways, which on the wire a single message is as well."""
        return grpc.stream_stream_rpc_method_handler(partial(self._pass_on, handler_call_details.method))

    async def _pass_on(
        self, method: str, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        onward: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(method)
        call = onward(requests)
        take = Take()
        if method == SPEAKS:
            self._takes.append(take)
        try:
            async for response in call:
                if method == SPEAKS:
                    take.add(tts.SynthesizeSpeechResponse.FromString(response))
                yield response
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        finally:
            call.cancel()


@asynccontextmanager
async def tapped(riva: Endpoint) -> AsyncIterator[tuple[Tap, str]]:
    """The tap, and the address at which sophia finds the speech server behind it, without TLS."""
    async with open_channel(riva) as channel:
        tap = Tap(channel)
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((tap,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield tap, f"127.0.0.1:{port}"
        finally:
            await server.stop(None)
