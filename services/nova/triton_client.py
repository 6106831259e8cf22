"""The one connection to Triton: a bidirectional stream for each inference, always cancelled when left.

Three facts shape it. Only bidi streams are ever cancelled, since a cancelled unary call ends some Triton
versions with a segmentation fault. A stream that is merely left goes on generating, so `finally` cancels.
And it uses tritonclient's messages, but not its client: that wraps every message, which costs more CPU than
to read it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf import json_format
from tritonclient.grpc import service_pb2 as untyped_pb
from tritonclient.grpc import service_pb2_grpc

from services.nova.contracts import Deadlines
from shared import channels
from shared.errors import PeerError, PeerRefused, PeerTimeout, PeerUnavailable

log = logging.getLogger(__name__)

PEER = "triton"

pb: Any = untyped_pb  # made at import: nothing of it is known to mypy

_PASSING = re.compile(
    r"(?i)stub process|not ready|no available versions|unavailable|not healthy|unhealthy|try again"
    r"|enginecore|engine is dead|out of memory|cancelled|shutting down"
)
"""How errors read that a later attempt may not meet.

A model's error comes in-band as a message without its status. (The header `triton_grpc_error` would bring the
status, but with it an error that is not the stream's last message kills Triton 24.10.)
"""

_DEAD = re.compile(r"(?i)stub process .*not healthy|has no available versions")
"""A model whose process died, and one that could not be loaded again so far."""

_STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
"""Bidi, and called with the one message that it takes: on the wire that is the same, and it costs less."""

MEND_GAP_S = 5.0
"""A model that dies of every request is not loaded anew for each."""
MEND_S = 300.0
"""As long as a model may take to load."""
CLOSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor of one row; `raw` as Triton's binary data extension writes it."""

    name: str
    datatype: str
    raw: bytes
    count: int = 1


class TritonClient:
    """`mend`: have a model whose process died unloaded and loaded again."""

    def __init__(self, url: str, deadlines: Deadlines, *, mend: bool = False) -> None:
        self._channel = channels.open_channel(channels.Endpoint(PEER, url))
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._infer = self._channel.unary_stream(
            _STREAM,
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        self._deadlines = deadlines
        self._mend = mend
        self._mended_at = -math.inf
        self._calls: dict[str, asyncio.Task[Any]] = {}
        self._lost: set[asyncio.Task[Any]] = set()

    async def infer_stream(
        self, model: str, inputs: Sequence[Input], *, stream: bool
    ) -> AsyncGenerator[Any, None]:
        """Each ModelInferResponse (protobuf) of one request, as it comes. Close it to stop the model.

        `stream` says which deadline holds for the first, which otherwise is the whole answer.
        """
        first_s = self._deadlines.first_token_s if stream else self._deadlines.answer_s
        next_s = self._deadlines.inter_token_s
        loop = asyncio.get_running_loop()
        call: Any = self._infer(_request(model, inputs))
        patience = _Patience(loop, call, first_s)
        try:
            while True:
                patience.since = loop.time()
                message = await call.read()
                if message is grpc.aio.EOF:
                    return
                patience.since = None
                if message.error_message:
                    raise self._fault(model, message.error_message)
                yield message.infer_response
                if patience.limit_s != next_s:
                    patience.expect_within(next_s)
        except grpc.aio.AioRpcError as error:
            raise channels.peer_error(PEER, error) from None
        except asyncio.CancelledError:
            # gRPC raises the same for a call that we gave up, one that the server ended, and our own end.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            if patience.lost:
                raise PeerTimeout(PEER, f"nothing came in {patience.limit_s:g} s") from None
            raise PeerUnavailable(PEER, "it ended the stream") from None
        finally:
            patience.end()
            call.cancel()

    async def model_config(self, model: str) -> dict[str, Any]:
        """The model's configuration as JSON has it."""
        question = pb.ModelConfigRequest(name=model)
        limit_s = self._deadlines.first_token_s
        call = self._call(f"configuration of {model}", limit_s, self._stub.ModelConfig, question)
        try:
            async with asyncio.timeout(limit_s):
                answer = await asyncio.shield(call)
        except TimeoutError:
            raise PeerTimeout(PEER, f"no configuration of model {model} in time") from None
        except grpc.aio.AioRpcError as error:
            self._notice(model, error.details() or "")
            raise _unary_error(error) from None
        return json_format.MessageToDict(answer.config, preserving_proto_field_name=True)

    async def close(self) -> None:
        if calls := {*self._calls.values(), *self._lost}:
            await asyncio.wait(calls, timeout=CLOSE_S)
        await self._channel.close()

    def _call(
        self, name: str, limit_s: float, method: Callable[[Any], Awaitable[Any]], argument: Any
    ) -> asyncio.Task[Any]:
        """A unary call, which is never cancelled: the impatient leave it, others share it for `limit_s`.
        After that it counts as lost, and the next to ask has one of their own."""
        call = self._calls.get(name)
        if call is None:
            call = self._calls[name] = asyncio.create_task(_awaited(method(argument)))
            losing = asyncio.get_running_loop().call_later(limit_s, self._lose, name, call)
            call.add_done_callback(lambda done: self._ended(name, done, losing))
        return call

    def _lose(self, name: str, call: asyncio.Task[Any]) -> None:
        del self._calls[name]
        self._lost.add(call)

    def _ended(self, name: str, call: asyncio.Task[Any], losing: asyncio.TimerHandle) -> None:
        losing.cancel()
        if call in self._lost:
            self._lost.remove(call)
        else:
            del self._calls[name]
        if not call.cancelled():
            call.exception()  # looked at, so that a failure that nobody waited for is no warning

    def _fault(self, model: str, message: str) -> PeerError:
        self._notice(model, message)
        return (PeerUnavailable if _PASSING.search(message) else PeerRefused)(PEER, message)

    def _notice(self, model: str, message: str) -> None:
        """Have a model mended that this says is dead."""
        if _DEAD.search(message) and self._mend and time.monotonic() - self._mended_at > MEND_GAP_S:
            self._call(f"mending {model}", MEND_S, self._reload, model)

    async def _reload(self, model: str) -> None:
        """Triton notices neither that a model's process died nor, while it is loaded, a wish to load it."""
        log.warning("triton: the process of model %s died; having it unloaded and loaded", model)
        try:
            await self._stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=model))
            await self._stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=model))
        except grpc.aio.AioRpcError as error:
            log.error("triton: model %s could not be loaded again: %s", model, error.details())
        else:
            log.warning("triton: model %s is loaded again", model)
        finally:
            self._mended_at = time.monotonic()


class _Patience:
    """Cancels the call when the peer has been silent for `limit_s` while we wait for it.

    One timer for each stream that looks at the clock when it fires, because a timer for each token would
    cost more than reading the token.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Any, limit_s: float) -> None:
        self.since: float | None = None
        self.lost = False
        self.limit_s = limit_s
        self._loop = loop
        self._call = call
        self._timer = loop.call_later(limit_s, self._look)

    def expect_within(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._timer.cancel()
        self._timer = self._loop.call_later(limit_s, self._look)

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        left = self.limit_s if self.since is None else self.since + self.limit_s - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self.lost = True
            self._call.cancel()


def _request(model: str, inputs: Sequence[Input]) -> Any:
    request = pb.ModelInferRequest(model_name=model)
    for tensor in inputs:
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=(tensor.count,))
        request.raw_input_contents.append(tensor.raw)
    return request


async def _awaited(call: Awaitable[Any]) -> Any:
    return await call


def _unary_error(error: grpc.aio.AioRpcError) -> PeerError:
    message = error.details() or "no details"
    refused = error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
    return (PeerRefused if refused and not _PASSING.search(message) else PeerUnavailable)(PEER, message)
