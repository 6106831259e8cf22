"""Our errors as gRPC statuses, worded as Riva words its own."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import grpc
import grpc.aio

from shared.errors import InputError, Overloaded, PeerTimeout, PeerUnavailable, VoxloopError
from shared.outgoing import Outgoing

log = logging.getLogger(__name__)

T = TypeVar("T")
Method = Callable[[Any, Any, Outgoing[Any]], Coroutine[Any, Any, T]]
Guarded = Callable[[Any, Any, "grpc.aio.ServicerContext[Any, Any]"], Coroutine[Any, Any, T]]

_CODES: tuple[tuple[type[VoxloopError], grpc.StatusCode], ...] = (
    (InputError, grpc.StatusCode.INVALID_ARGUMENT),
    (Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (PeerUnavailable, grpc.StatusCode.UNAVAILABLE),
    (PeerTimeout, grpc.StatusCode.UNAVAILABLE),
)


def unavailable_model(**parameters: object) -> InputError:
    """Riva's answer to a language, voice or model that it does not have. Empty parameters are left out."""
    given = " ".join(f"{name}={value};" for name, value in parameters.items() if value not in ("", 0))
    return InputError(f"Unavailable model requested given these parameters: {given}")


def guarded(method: Method[T]) -> Guarded[T]:
    """A VoxloopError that leaves the method becomes the call's status."""

    @functools.wraps(method)
    async def call(self: Any, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> T:
        outgoing = Outgoing[Any](context)
        try:
            return await method(self, request, outgoing)
        except* VoxloopError as group:
            error = _first(group)
        return await _abort(outgoing, error)

    return call


def _first(group: BaseExceptionGroup[VoxloopError]) -> VoxloopError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _abort(outgoing: Outgoing[Any], error: VoxloopError) -> NoReturn:
    code = next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
    if code is not grpc.StatusCode.INVALID_ARGUMENT:
        log.warning("a call ended with %s: %s", code.name, error)
    await outgoing.abort(code, f"Error: {error}")
