"""The status with which a server ended a call, also where grpc.aio forgets it.

A write that meets a call which its server has just ended makes grpc.aio replace the server's status by
INTERNAL, "Internal error from Core" (_AioCall.set_internal_error). The first status is the true one.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc
import grpc.aio

T = TypeVar("T")


class Verdict:
    """Watches one call from its beginning on."""

    def __init__(self, call: grpc.aio.Call) -> None:
        self._first: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    def of(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """What the server said, in place of what the call raised. Its code may be OK."""
        return self._first or error

    def _note(self, call: grpc.aio.Call) -> None:
        if self._first is None:
            self._first = grpc.aio.AioRpcError(
                _known(call.code()),
                grpc.aio.Metadata(),
                _known(call.trailing_metadata()) or grpc.aio.Metadata(),
                _known(call.details()),
            )


def _known(ready: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing left to wait for, as those of a call that is done."""
    try:
        ready.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise RuntimeError("the call is not done")
