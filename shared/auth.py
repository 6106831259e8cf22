"""API keys, for HTTP, WebSocket and gRPC alike. Compared in constant time, never logged."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.problems import problem

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What an orchestrator must reach without a key."""


def accepted(authorization: str | None, keys: Sequence[SecretStr]) -> bool:
    scheme, _, offered = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        return False
    sent = offered.strip().encode()
    # Every key is compared, so the time says nothing about which one came close.
    return sum(hmac.compare_digest(sent, key.get_secret_value().encode()) for key in keys) > 0


class ApiKeyMiddleware:
    """Answers 401 where no accepted key came, to the handshake of a WebSocket too."""

    def __init__(self, app: ASGIApp, keys: Sequence[SecretStr]) -> None:
        self.app = app
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_open = scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS
        offered = [] if is_open else Headers(scope=scope).getlist("authorization")
        if is_open or any(accepted(value, self.keys) for value in offered):
            await self.app(scope, receive, send)
        else:
            response = problem(401, "missing or unknown API key", code="unauthorized")
            await response(scope, receive, send)


class ApiKeyInterceptor(grpc.aio.ServerInterceptor):
    """The same rule on a gRPC server; standard health checks stay open."""

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        self.keys = keys

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = await continuation(handler_call_details)
        metadata = handler_call_details.invocation_metadata or ()
        # NVIDIA's client sends `authorization` twice over TLS: any accepted one will do.
        offered = [str(value) for key, value in metadata if key == "authorization"]
        method = handler_call_details.method or ""
        if (
            handler is None
            or method.startswith("/grpc.health.v1.")
            or any(accepted(value, self.keys) for value in offered)
        ):
            return handler
        return _refuse(handler)


def _refuse(handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
    async def abort(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "missing or unknown API key")

    async def abort_stream(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "missing or unknown API key")
        yield

    makers: dict[tuple[bool, bool], Callable[..., grpc.RpcMethodHandler[Any, Any]]] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    make = makers[(bool(handler.request_streaming), bool(handler.response_streaming))]
    return make(
        abort_stream if handler.response_streaming else abort,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
