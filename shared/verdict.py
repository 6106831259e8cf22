"""The status with which a server ended a call, also where grpc.aio hides it.

A write that meets a call which its server has just ended makes grpc.aio set a status of its own, INTERNAL,
"Internal error from Core" (_AioCall.set_internal_error): before the server's, or in its place. The server's
own comes once every response is read: iterate over them, for read() gives up at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import grpc
import grpc.aio

T = TypeVar("T")

MADE_UP = (grpc.StatusCode.INTERNAL, "Internal error from Core")
PATIENCE_S = 0.5
"""The server's status follows within moments, unless the connection is lost with it."""


class Verdict:
    """Watches one call from its beginning on."""

    def __init__(self, call: grpc.aio.Call) -> None:
        self._servers: grpc.aio.AioRpcError | None = None
        self._known = asyncio.Event()
        call.add_done_callback(self._note)

    async def of(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """What the server said, in place of what the call raised. Its code may be OK."""
        if (error.code(), error.details()) != MADE_UP:
            return error
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._known.wait()
        return self._servers or error

    def _note(self, call: grpc.aio.Call) -> None:
        code, details = _known(call.code()), _known(call.details())
        if self._servers is None and (code, details) != MADE_UP:
            trailing = _known(call.trailing_metadata())
            self._servers = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details)
            self._known.set()


def _known(ready: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing left to wait for, as those of a call that is done."""
    try:
        ready.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise RuntimeError("the call is not done")
