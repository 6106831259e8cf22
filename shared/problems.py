"""Every error of the REST surface as a problem document (RFC 9457) with `code` and `retryable`."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shared.errors import VoxloopError

log = logging.getLogger(__name__)


def problem(status: int, detail: str, *, code: str, retryable: bool = False, **extra: object) -> JSONResponse:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    headers = {"Retry-After": "1"} if retryable and status in (429, 503) else None
    return JSONResponse(
        body | {"code": code, "retryable": retryable} | extra,
        status,
        headers,
        media_type="application/problem+json",
    )


def install(app: FastAPI) -> None:
    @app.exception_handler(VoxloopError)
    async def _voxloop(_: Request, error: VoxloopError) -> JSONResponse:
        return problem(error.status, str(error), code=error.code, retryable=error.retryable)

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> JSONResponse:
        fields = [
            {"where": ".".join(str(p) for p in item["loc"]), "what": item["msg"]} for item in error.errors()
        ]
        detail = "; ".join(f"{field['where']}: {field['what']}" for field in fields)
        return problem(400, detail, code="bad_request", errors=fields)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        return problem(
            error.status_code,
            str(error.detail),
            code=HTTPStatus(error.status_code).phrase.lower().replace(" ", "_"),
        )

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(500, "an unexpected error; the log of this service has it", code="internal")
