"""uvicorn's WebSockets, but for how they end."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

ABORT_AFTER_S = 12.0
"""What a client may take to hear the end: some more than uvicorn gives it to answer a close."""


class WebSockets(WebSocketsSansIOProtocol):
    """Lets go of a client that takes nothing any more.

    uvicorn only closes its transport, which waits until all is sent that was written: for ever, where
    nobody reads.
    """

    _abort: asyncio.TimerHandle | None = None
    _lost = False

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if not self._lost:
            self._abort = self.loop.call_later(ABORT_AFTER_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._abort is not None:
            self._abort.cancel()
        super().connection_lost(exc)
