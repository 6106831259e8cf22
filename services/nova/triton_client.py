"""The one connection to Triton: a bidirectional stream for each inference, always cancelled when left.

Three facts shape it. Only bidi streams are ever cancelled, since a cancelled unary call ends some Triton
versions with a segmentation fault. A stream that is merely left goes on generating, so `finally` cancels.
And many clients leak where one shared does not.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import grpc.aio
from tritonclient.grpc import InferInput
from tritonclient.grpc import aio as triton
from tritonclient.utils import InferenceServerException

from shared import channels
from shared.errors import PeerError, PeerRefused, PeerTimeout, PeerUnavailable

PEER = "triton"

_PASSING = re.compile(
    r"(?i)stub process|not ready|unavailable|not healthy|unhealthy|try again|enginecore|engine is dead"
    r"|out of memory|cancelled|shutting down"
)
"""How errors read that a later attempt may not meet.

A model's error comes in-band as a message without its status. (The header `triton_grpc_error` would bring the
status, but with it an error that is not the stream's last message kills Triton 24.10.)
"""


class TritonClient:
    """Deadlines are seconds of Triton's silence, not of the whole answer."""

    def __init__(self, url: str, *, first_token_s: float, inter_token_s: float) -> None:
        channels.Endpoint(PEER, url).host_port  # noqa: B018 - raises on a malformed address
        self._client: Any = triton.InferenceServerClient(url, channel_args=channels.OPTIONS)  # type: ignore[no-untyped-call]
        self._first_s = first_token_s
        self._next_s = inter_token_s
        self._config_calls: dict[str, asyncio.Task[dict[str, Any]]] = {}

    async def infer_stream(self, model: str, inputs: Sequence[InferInput]) -> AsyncGenerator[Any, None]:
        """Each ModelInferResponse (protobuf) of one request, as it comes. Close it to stop the model."""
        loop = asyncio.get_running_loop()
        stream = self._client.stream_infer(_once({"model_name": model, "inputs": inputs}))
        patience = _Patience(loop, stream, self._first_s)
        try:
            while True:
                patience.since = loop.time()
                try:
                    result, error = await anext(stream)
                except StopAsyncIteration:
                    return
                patience.since = None
                if error is not None:
                    raise _in_band(error)
                yield result.get_response()
                if patience.limit_s != self._next_s:
                    patience.expect_within(self._next_s)
        except grpc.aio.AioRpcError as error:
            raise channels.peer_error(PEER, error) from None
        except asyncio.CancelledError:
            # gRPC raises the same for a call that we gave up, one that the server ended, and our own end.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            if patience.lost:
                raise PeerTimeout(PEER, f"no token in {patience.limit_s:g} s") from None
            raise PeerUnavailable(PEER, "it ended the stream") from None
        finally:
            patience.end()
            stream.cancel()

    async def model_config(self, model: str) -> dict[str, Any]:
        """The model's configuration as JSON has it.

        The call is unary, so it is never cancelled: whoever is impatient leaves it running, and the next
        one to ask waits for the same call.
        """
        call = self._config_calls.get(model)
        if call is None:
            call = asyncio.create_task(self._client.get_model_config(model, as_json=True))
            self._config_calls[model] = call
            call.add_done_callback(lambda done: self._forget(model, done))
        try:
            async with asyncio.timeout(self._first_s):
                answer = await asyncio.shield(call)
        except TimeoutError:
            raise PeerTimeout(PEER, f"no model configuration in {self._first_s:g} s") from None
        except InferenceServerException as error:
            raise _exception(error) from None
        config: dict[str, Any] = answer["config"]
        return config

    def _forget(self, model: str, call: asyncio.Task[dict[str, Any]]) -> None:
        del self._config_calls[model]
        if not call.cancelled():
            call.exception()  # looked at, so that a failure that nobody waited for is no warning

    async def close(self) -> None:
        await self._client.close()
        await asyncio.gather(*self._config_calls.values(), return_exceptions=True)


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


async def _once(request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield request


def _in_band(error: Any) -> PeerError:
    message = error.message()
    return (PeerUnavailable if _PASSING.search(message) else PeerRefused)(PEER, message)


def _exception(error: Any) -> PeerError:
    """What tritonclient makes of a unary call's status: its name is all that is left of it."""
    refused = error.status() in ("StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT")
    return (PeerRefused if refused else PeerUnavailable)(PEER, error.message() or "no details")
