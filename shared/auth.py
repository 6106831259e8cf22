"""API keys and tokens, for HTTP, WebSocket and gRPC alike. Compared in constant time, never logged.

They travel as `Authorization: Bearer …`. A browser cannot send that with a WebSocket, so its handshake
may bring one as a subprotocol instead: `voxloop.key.<base64url>`, beside `voxloop`, which is answered.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import grpc
import grpc.aio
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shared import openai_errors
from shared.errors import Unauthorized
from shared.problems import problem
from shared.settings import ServiceSettings
from shared.tokens import Signer, Tokens

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What an orchestrator must reach without a key."""


SUBPROTOCOL = "voxloop"
KEY_PREFIX = "voxloop.key."
_UNTIL = "voxloop.admitted_until"
REFUSAL = "missing or unknown API key"


def accepted(authorization: str | None, keys: Sequence[SecretStr]) -> bool:
    if (offered := _bearer(authorization)) is None:
        return False
    sent = offered.encode()
    # Every key is compared, so the time says nothing about which one came close.
    return sum(hmac.compare_digest(sent, key.get_secret_value().encode()) for key in keys) > 0


def _bearer(authorization: str | None) -> str | None:
    scheme, _, offered = (authorization or "").partition(" ")
    return offered.strip() if scheme.lower() == "bearer" else None


class Credentials:
    """What a service asks of its callers: one of its API keys, or a token that counts."""

    def __init__(self, keys: Sequence[SecretStr], tokens: Tokens = Tokens()) -> None:  # noqa: B008 - frozen
        self._keys = keys
        self._tokens = tokens

    @classmethod
    def of(cls, settings: ServiceSettings) -> Credentials | None:
        """None where everybody is served. Raises SettingsError where a key file is no key."""
        if not settings.protected:
            return None
        signers = []
        if settings.jwt_secret is not None:
            signers.append(Signer.by_secret(settings.jwt_secret))
        if settings.jwt_public_key is not None:
            signers.append(Signer.by_public_key(settings.jwt_public_key))
        return cls(settings.api_keys, Tokens(tuple(signers), settings.jwt_audience))

    def admit(self, authorizations: Iterable[str]) -> float:
        """Until when one of these is good, in Unix time: a token until its end, a key for ever; 0: none is.

        NVIDIA's client sends `authorization` twice over TLS.
        """
        return max(map(self._good_until, authorizations), default=0.0)

    def _good_until(self, authorization: str) -> float:
        if accepted(authorization, self._keys):
            return math.inf
        return self._tokens.accept(_bearer(authorization) or "")


def admitted_until(scope: Scope) -> float:
    """When the credentials that opened a WebSocket expire, in Unix time; infinity where they never do."""
    until: float = scope.get(_UNTIL, math.inf)
    return until


def subprotocol(scope: Scope) -> str | None:
    """What to answer to a WebSocket that offers subprotocols: browsers give up where nothing is."""
    return SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", ()) else None


def _authorizations(scope: Scope) -> list[str]:
    offered = Headers(scope=scope).getlist("authorization")
    if scope["type"] == "websocket":
        names = [name for name in scope.get("subprotocols", ()) if name.startswith(KEY_PREFIX)]
        offered += [f"Bearer {_decoded(name.removeprefix(KEY_PREFIX))}" for name in names]
    return offered


def _decoded(key: str) -> str:
    """A key out of a subprotocol; nothing where it is none."""
    try:
        padded = key.encode("ascii") + b"=" * (-len(key) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        return ""


def _without_key(scope: Scope, until: float) -> Scope:
    """For the app, and whatever it may log: the key has done its work. What is left is when it expires."""
    offered = [name for name in scope.get("subprotocols", ()) if not name.startswith(KEY_PREFIX)]
    headers = [
        (name, ", ".join(offered).encode() if name == b"sec-websocket-protocol" else value)
        for name, value in scope["headers"]
    ]
    return {**scope, "subprotocols": offered, "headers": headers, _UNTIL: until}


class ApiKeyMiddleware:
    """Answers 401 where nothing good came, to the handshake of a WebSocket too."""

    def __init__(
        self, app: ASGIApp, credentials: Credentials, open_paths: frozenset[str] = OPEN_PATHS
    ) -> None:
        self.app = app
        self.credentials = credentials
        self.open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in self.open_paths:
            await self.app(scope, receive, send)
        elif not (until := self.credentials.admit(_authorizations(scope))):
            await _refusal(scope)(scope, receive, send)
        elif scope["type"] == "websocket":
            await self.app(_without_key(scope, until), receive, send)
        else:
            await self.app(scope, receive, send)


def _refusal(scope: Scope) -> Response:
    if scope["type"] == "http" and scope["path"].startswith("/v1/"):
        response = openai_errors.failure(Unauthorized(REFUSAL))
        response.headers["www-authenticate"] = "Bearer"
        return response
    return problem(401, REFUSAL, code="unauthorized")


class ApiKeyInterceptor(grpc.aio.ServerInterceptor):
    """The same rule on a gRPC server; standard health checks stay open."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = await continuation(handler_call_details)
        metadata = handler_call_details.invocation_metadata or ()
        offered = [str(value) for key, value in metadata if key == "authorization"]
        method = handler_call_details.method or ""
        if handler is None or method.startswith("/grpc.health.v1.") or self.credentials.admit(offered):
            return handler
        return _refuse(handler)


def _refuse(handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
    async def abort(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, REFUSAL)

    async def abort_stream(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, REFUSAL)
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
