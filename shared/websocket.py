"""uvicorn's WebSockets, but for how they end."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

ABORT_AFTER_S = 12.0
"""What a client may take to hear the end: some more than uvicorn gives it to answer a close."""


class WebSockets(WebSocketsSansIOProtocol):
    """Lets go of a client that takes nothing any more, and tells one that sent nonsense what was wrong.

    uvicorn only closes its transport. That waits until all is sent that was written: for ever, where
    nobody reads. And what the client still sends then resets the connection, with the reason unread.
    """

    _abort: asyncio.TimerHandle | None = None
    _lost = False
    _refused = False

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if not self._lost:
            self._abort = self.loop.call_later(ABORT_AFTER_S, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        try:
            super().data_received(data)
        except InvalidState:  # the client said goodbye behind its nonsense, which is answered already
            self.handle_parser_exception()

    def handle_ping(self) -> None:
        if not self._refused:
            super().handle_ping()

    def handle_parser_exception(self) -> None:
        """Says why the connection ends, and discards all until the client ends it too (RFC 6455, 7.1.1)."""
        self._refused = self.close_sent = self.disconnected = True
        reason = self.conn.close_sent
        if reason is None:  # before the handshake was answered, where there is no frame to say it in
            self.transport.close()
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": reason.code, "reason": reason.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._abort is not None:
            self._abort.cancel()
        super().connection_lost(exc)
