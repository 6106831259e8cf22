"""Refuses a request body that is too large before it fills the memory."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """ASGI middleware: 413 once a body is, or announces itself as, larger than `limit` bytes.

    FastAPI's own `max_body_size` would answer in plain text, and ours is a problem document.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        size = int(announced) if announced.isdigit() else 0

        async def limited() -> Message:
            # Raised here, inside the read, where FastAPI turns it into the answer.
            nonlocal size
            message = await receive()
            if not announced:
                size += len(message.get("body", b""))
            if size > self._limit:
                raise HTTPException(413, f"the body is larger than {self._limit} bytes")
            return message

        await self._app(scope, limited, send)
