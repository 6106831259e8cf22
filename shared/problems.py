"""Every error of the REST surface as a problem document (RFC 9457) with `code` and `retryable`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request, WebSocket, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketState

from shared.errors import VoxloopError

log = logging.getLogger(__name__)

MAX_FIELDS, MAX_FIELD_CHARS = 16, 200
"""What a document tells of a bad request, which may hold a fault in each of a million places."""


def problem(
    status: int,
    detail: str,
    *,
    code: str,
    retryable: bool = False,
    headers: Mapping[str, str] | None = None,
    **extra: object,
) -> JSONResponse:
    # JSON may bring half a surrogate pair, which a detail may quote and no answer can hold.
    detail = detail.encode(errors="replace").decode()
    body = {"type": "about:blank", "title": _title(status), "status": status, "detail": detail}
    own: dict[str, str] = {}
    if status == HTTPStatus.UNAUTHORIZED:
        own["WWW-Authenticate"] = "Bearer"
    if retryable and status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        own["Retry-After"] = "1"
    return JSONResponse(
        body | {"code": code, "retryable": retryable} | extra,
        status,
        own | dict(headers or {}),
        media_type="application/problem+json",
    )


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # 499 and its like, of which the standard knows nothing
        return "Client Error" if status < 500 else "Server Error"


def explained(error: RequestValidationError, skip: int = 0) -> tuple[list[dict[str, str]], str]:
    """The first faults of a bad request: `where` (less its first `skip` parts), `what`; and in one line."""
    faults = error.errors()
    fields = [
        {
            "where": ".".join(str(part) for part in fault["loc"][skip:])[:MAX_FIELD_CHARS],
            "what": str(fault["msg"])[:MAX_FIELD_CHARS],
        }
        for fault in faults[:MAX_FIELDS]
    ]
    detail = "; ".join(f"{field['where']}: {field['what']}".removeprefix(": ") for field in fields)
    if len(faults) > MAX_FIELDS:
        detail += f"; and {len(faults) - MAX_FIELDS} more"
    return fields, detail


def install(app: FastAPI) -> None:
    @app.exception_handler(VoxloopError)
    async def _voxloop(connection: Request | WebSocket, error: VoxloopError) -> JSONResponse | None:
        if isinstance(connection, WebSocket) and connection.application_state is WebSocketState.CONNECTED:
            again = status.WS_1013_TRY_AGAIN_LATER
            await connection.close(again if error.retryable else status.WS_1011_INTERNAL_ERROR, error.code)
            return None  # past its handshake a WebSocket takes no document
        return problem(error.status, str(error), code=error.code, retryable=error.retryable)

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> JSONResponse:
        fields, detail = explained(error)
        return problem(400, detail, code="bad_request", errors=fields)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        code = _title(error.status_code).lower().replace(" ", "_")
        return problem(error.status_code, str(error.detail), code=code, headers=error.headers)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        # uvicorn, to whom the error goes on, logs its traceback.
        log.error("%s %s failed by %s", request.method, request.url.path, type(error).__name__)
        return problem(500, "an unexpected error; the log of this service has it", code="internal")
