"""What a gRPC server sends on one call: messages, and a status that is sure to come after them.

gRPC's core sends one thing at a time on a call. A write whose task was cancelled goes on there, and a status
that meets it is refused (GRPC_CALL_ERROR_TOO_MANY_OPERATIONS) and never sent: the caller then waits for it
until a deadline of its own. So here a write, once begun, is finished, whoever gives up on it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Generic, NoReturn, TypeVar

import grpc
import grpc.aio

from shared.errors import Overloaded

Message = TypeVar("Message")

PATIENCE_S = 30.0
"""How long a caller may take nothing, where nobody says otherwise."""


class Outgoing(Generic[Message]):
    """One task at a time writes to it."""

    def __init__(
        self, context: grpc.aio.ServicerContext[Any, Message], patience_s: float = PATIENCE_S
    ) -> None:
        self._context = context
        self._patience_s = patience_s
        self._writing: asyncio.Task[None] | None = None

    async def introduce(self, *metadata: tuple[str, str]) -> None:
        """Initial metadata, before anything else."""
        await self._context.send_initial_metadata(metadata)

    async def write(self, message: Message) -> None:
        """Raises Overloaded for a caller that takes nothing."""
        self._writing = writing = asyncio.create_task(self._sent(message))
        try:
            # Leaves the write alone, however it is left itself.
            await asyncio.wait({writing}, timeout=self._patience_s)
        finally:
            if not writing.done():
                writing.add_done_callback(_seen)
        if not writing.done():
            raise Overloaded(f"the caller took nothing for {self._patience_s:g} s")
        writing.result()

    async def _sent(self, message: Message) -> None:
        # gRPC's own coroutine is none of Python's, and making a task of it costs several times as much.
        await self._context.write(message)

    async def abort(
        self, code: grpc.StatusCode, details: str, metadata: tuple[tuple[str, str], ...] = ()
    ) -> NoReturn:
        """Has no deadline: a caller that takes nothing can be told nothing either, and gRPC has no other way
        to end its call. It costs a waiting task until it hangs up, so give back everything else first."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        await self._context.abort(code, details, trailing_metadata=metadata)


def _seen(writing: asyncio.Task[None]) -> None:
    """A write that fails behind one who gave it up is nobody's error any more."""
    if not writing.cancelled():
        writing.exception()
