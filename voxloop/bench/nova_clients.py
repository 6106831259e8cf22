"""Three clients with one face: tritonclient itself, and nova by gRPC and by REST.

Each costs as little as its protocol lets it: one shared connection for gRPC, and for HTTP a socket and no
library. All ask for the same answers (greedy, the same template), and what comes is compared to the letter.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import grpc.aio
import numpy as np
import orjson
from tritonclient.grpc import InferInput
from tritonclient.grpc import aio as triton

from shared import channels
from shared.errors import PeerProtocol, PeerRefused
from shared.wire.nova.v1 import nova_pb2, nova_pb2_grpc
from voxloop.bench.nova_stack import MODEL, NovaStack

QUESTIONS = (
    "count from one to twenty",
    "tell me a story",
    "what can you do",
    "list the days of the week",
    "list the months of the year",
    "count down from thirty",
    "say the alphabet",
)
"""Their answers are longer than what is asked for, so that all answers have as many tokens."""

MAX_TOKENS = 32
DEADLINE_S = 120.0
KEEP_S = 2.0
"""A connection that was idle for longer is not used again: a server closes it after five."""

_Idle = tuple[float, asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Streamed:
    """`ttft_s`: from the call to the first text."""

    text: str
    ttft_s: float


class Bare:
    """What a program costs that asks Triton itself: a bidirectional stream for each request."""

    def __init__(self, client: Any) -> None:
        self._client = client
        parameters = orjson.dumps({"max_tokens": MAX_TOKENS, "temperature": 0.0}).decode()
        self._parameters = _text("sampling_parameters", parameters)
        self._stream, self._whole = (_flag("stream", value) for value in (True, False))
        self._exclude = _flag("exclude_input_in_output", True)
        self._count = _flag("return_num_output_tokens", True)

    async def stream(self, question: str) -> Streamed:
        started, first, texts = time.perf_counter(), 0.0, list[str]()
        async for result in self._results([_prompt(question), self._parameters, self._stream]):
            text = result.as_numpy("text_output")[0].decode()
            if text and not first:
                first = time.perf_counter()
            texts.append(text)
        return Streamed("".join(texts), first - started)

    async def whole(self, question: str) -> str:
        return (await self.counted(question))[0]

    async def counted(self, question: str) -> tuple[str, int]:
        """The answer and how many tokens it has."""
        text, tokens = "", 0
        inputs = [_prompt(question), self._parameters, self._whole, self._exclude, self._count]
        async for result in self._results(inputs):
            text += result.as_numpy("text_output")[0].decode()
            tokens += int(result.as_numpy("num_output_tokens")[0])
        return text, tokens

    async def _results(self, inputs: list[InferInput]) -> AsyncIterator[Any]:
        async def once() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": MODEL, "inputs": inputs}

        call = self._client.stream_infer(once(), stream_timeout=DEADLINE_S)
        async for result, error in call:
            if error is not None:
                raise PeerRefused("triton", error.message())
            yield result


def _prompt(question: str) -> InferInput:
    """As nova-mini's template has one user's message."""
    return _text("text_input", f"<|user|>{question}<|end|><|assistant|>")


def _text(name: str, value: str) -> InferInput:
    return _tensor(name, "BYTES", np.array([value.encode()], np.object_))


def _flag(name: str, value: bool) -> InferInput:
    return _tensor(name, "BOOL", np.array([value]))


def _tensor(name: str, datatype: str, values: np.ndarray[Any, Any]) -> InferInput:
    tensor = InferInput(name, [1], datatype)  # type: ignore[no-untyped-call]
    tensor.set_data_from_numpy(values)  # type: ignore[no-untyped-call]
    return tensor


class NovaGrpc:
    """nova.v1, as sophia asks: the voice lane."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: nova_pb2_grpc.NovaAsyncStub = nova_pb2_grpc.NovaStub(channel)

    def call(self, question: str) -> Any:
        request = nova_pb2.GenerateRequest(
            messages=[nova_pb2.Message(role="user", content=question)],
            sampling=nova_pb2.Sampling(max_tokens=MAX_TOKENS, temperature=0.0),
            priority=nova_pb2.PRIORITY_VOICE,
        )
        return self._stub.Generate(request, timeout=DEADLINE_S)

    async def stream(self, question: str) -> Streamed:
        started, first, texts = time.perf_counter(), 0.0, list[str]()
        async for response in self.call(question):
            if text := response.text:
                if not first:
                    first = time.perf_counter()
                texts.append(text)
        return Streamed("".join(texts), first - started)


class NovaRest:
    """POST /nova/generate. A connection whose answer is read is used again."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._idle: list[_Idle] = []

    async def whole(self, question: str) -> str:
        return (await self.batch([question]))[0]

    async def batch(self, questions: Sequence[str]) -> list[str]:
        status, body = await self.post(questions)
        if status != HTTPStatus.OK:
            raise PeerProtocol("nova", f"it answered {status}")
        return [output["text"] for output in orjson.loads(body)["outputs"]]

    async def stream(self, question: str) -> Streamed:
        """Server-sent events; the first is timed, the rest are read as they come."""
        started, first, texts = time.perf_counter(), 0.0, list[str]()
        async with self._asked([question], stream=True) as reader:
            async for line in reader:
                if line.startswith(b'data: {"index":0,"text"'):
                    if not first:
                        first = time.perf_counter()
                    texts.append(orjson.loads(line[6:])["text"])
                elif line == b"0\r\n":  # the last chunk
                    await reader.readline()
                    break
        return Streamed("".join(texts), first - started)

    async def post(self, questions: Sequence[str]) -> tuple[int, bytes]:
        """Status and body. Raises PeerProtocol for a connection that ends, TimeoutError for silence."""
        async with asyncio.timeout(DEADLINE_S), self._asked(questions, stream=False) as reader:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            if length is None:
                raise PeerProtocol("nova", "an answer without a length")
            return int(head.split(b" ", 2)[1]), await reader.readexactly(int(length[1]))

    async def close(self) -> None:
        for _, _, writer in self._idle:
            writer.close()
            await writer.wait_closed()

    @asynccontextmanager
    async def _asked(self, questions: Sequence[str], *, stream: bool) -> AsyncIterator[asyncio.StreamReader]:
        """A connection on which the answer will come; it must be read to its end."""
        reader, writer = await self._connection()
        body = orjson.dumps(
            {"prompt": list(questions), "max_tokens": MAX_TOKENS, "temperature": 0.0, "stream": stream}
        )
        try:
            writer.write(
                b"POST /nova/generate HTTP/1.1\r\nHost: nova\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            yield reader
        except (OSError, asyncio.IncompleteReadError) as error:
            writer.close()
            raise PeerProtocol("nova", f"no answer ({type(error).__name__})") from None
        except BaseException:
            writer.close()
            raise
        self._idle.append((time.monotonic(), reader, writer))

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            since, reader, writer = self._idle.pop()
            if time.monotonic() - since < KEEP_S:
                return reader, writer
            writer.close()
        try:
            return await asyncio.open_connection(self._host, self._port)
        except OSError as error:
            raise PeerProtocol("nova", f"no connection ({error.strerror})") from None


@dataclass(frozen=True)
class Clients:
    bare: Bare
    grpc: NovaGrpc
    rest: NovaRest


@asynccontextmanager
async def open_clients(stack: NovaStack) -> AsyncIterator[Clients]:
    client: Any = triton.InferenceServerClient(stack.triton, channel_args=channels.OPTIONS)  # type: ignore[no-untyped-call]
    async with client, channels.open_channel(channels.Endpoint("nova", stack.grpc)) as channel:
        rest = NovaRest(stack.http)
        try:
            yield Clients(Bare(client), NovaGrpc(channel), rest)
        finally:
            await rest.close()
