"""Every error in the form that OpenAI's clients expect, for the routes under `/v1`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from shared.errors import InputError, Overloaded, UnknownModel, VoxloopError
from shared.problems import explained


class OpenAiRoute(APIRoute):
    """Turns every error into OpenAI's form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_explain(request: Request) -> Response:
            try:
                return await handle(request)
            except VoxloopError as error:
                return failure(error)
            except RequestValidationError as error:
                fields, message = explained(error, skip=1)
                return _error(400, message, param=fields[0]["where"] or None)
            except HTTPException as error:
                return refusal(error)

        return handle_or_explain


def failure(error: VoxloopError) -> Response:
    headers = {"retry-after": "1"} if isinstance(error, Overloaded) else None
    return JSONResponse(error_body(error), error.status, headers)


def error_body(error: VoxloopError) -> dict[str, Any]:
    match error:
        case UnknownModel():
            kind, code = "invalid_request_error", "model_not_found"
        case InputError():
            kind, code = "invalid_request_error", error.code
        case Overloaded():
            kind, code = "rate_limit_error", error.code
        case _:
            kind, code = "api_error", error.code
    return {"error": {"message": str(error), "type": kind, "param": None, "code": code}}


def refusal(error: HTTPException) -> Response:
    response = _error(error.status_code, str(error.detail))
    response.headers.update(error.headers or {})
    return response


def _error(status: int, message: str, *, param: str | None = None) -> JSONResponse:
    # JSON may bring half a surrogate pair, which a message may quote and no answer can hold.
    message = message.encode(errors="replace").decode()
    body = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return JSONResponse({"error": body}, status)
