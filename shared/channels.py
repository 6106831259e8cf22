"""gRPC channels to a peer, and what their failures mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio

from shared import tls
from shared.errors import (
    InputError,
    Overloaded,
    PeerCertificate,
    PeerError,
    PeerProtocol,
    PeerRefused,
    PeerTimeout,
    PeerUnavailable,
    SettingsError,
    VoxloopError,
)

MAX_MESSAGE = 64 << 20  # bytes; gRPC's own default of 4 MB cuts a minute of 44.1 kHz speech

OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # A server with gRPC's defaults, as Riva and Triton, takes more than one ping in 5 minutes on a quiet
    # connection for abuse, and after some of them ends it with every stream on it (too_many_pings).
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # A peer that restarts is back within a second or two; gRPC's default backs off up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Not a backoff, for all its name, but what one attempt may take: far peers need more than one second.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
)

_ADDRESS = re.compile(r"(?P<host>[^\s:/\[\]]+|\[[0-9a-fA-F:.]+(%\w+)?\]):(?P<port>[0-9]{1,5})")
_METADATA_KEY, _METADATA_VALUE = re.compile(r"[0-9a-z_.-]+"), re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True)
class Endpoint:
    """Where a peer listens and how it is spoken to. `metadata` may hold credentials: never logged."""

    peer: str
    target: str
    use_tls: bool = False
    ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def host_port(self) -> tuple[str, int]:
        match = _ADDRESS.fullmatch(self.target)
        if match is None or not 0 < int(match["port"]) <= 65535:
            raise SettingsError(
                f"the address of {self.peer} must be host:port, not {self.target!r}",
                hint="Such as 127.0.0.1:50051 or [::1]:50051, without a scheme.",
            )
        return match["host"].strip("[]"), int(match["port"])


def open_channel(endpoint: Endpoint) -> grpc.aio.Channel:
    """Raises SettingsError for what gRPC itself would answer late, unclearly, or by ending the process."""
    endpoint.host_port  # noqa: B018 - raises on a malformed address before gRPC waits on it
    _check_metadata(endpoint)
    if not endpoint.use_tls:
        return grpc.aio.insecure_channel(endpoint.target, options=OPTIONS)
    if (endpoint.client_cert is None) != (endpoint.client_key is None):
        raise SettingsError(f"{endpoint.peer} needs both a client certificate and its key, or neither")
    credentials = grpc.ssl_channel_credentials(
        _read(endpoint, endpoint.ca),
        _read(endpoint, endpoint.client_key),
        _read(endpoint, endpoint.client_cert),
    )
    return grpc.aio.secure_channel(endpoint.target, credentials, options=OPTIONS)


def _check_metadata(endpoint: Endpoint) -> None:
    for key, value in endpoint.metadata:
        if not _METADATA_KEY.fullmatch(key) or not _METADATA_VALUE.fullmatch(value):
            # Without the value, which is a secret most of the time.
            raise SettingsError(
                f"the metadata {key!r} for {endpoint.peer} holds what no header can",
                hint="Printable ASCII only: look for a line break at the end of the key.",
            )


def _read(endpoint: Endpoint, path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"the TLS file {path} for {endpoint.peer} cannot be read ({error.strerror})"
        ) from None


_CODES: dict[grpc.StatusCode, type[PeerError]] = {
    grpc.StatusCode.UNAVAILABLE: PeerUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: PeerTimeout,
    grpc.StatusCode.RESOURCE_EXHAUSTED: PeerUnavailable,
    grpc.StatusCode.ABORTED: PeerUnavailable,
    grpc.StatusCode.CANCELLED: PeerUnavailable,
    grpc.StatusCode.INTERNAL: PeerUnavailable,
    grpc.StatusCode.UNKNOWN: PeerProtocol,
    grpc.StatusCode.UNIMPLEMENTED: PeerProtocol,
    grpc.StatusCode.DATA_LOSS: PeerProtocol,
}


def peer_error(peer: str, error: grpc.aio.AioRpcError) -> PeerError:
    """The PeerError that a gRPC status stands for."""
    kind = _CODES.get(error.code(), PeerRefused)
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in (error.details() or ""):
        kind = PeerProtocol  # our own limit, which the same answer would meet again
    return kind(peer, f"{error.code().name.lower().replace('_', ' ')}: {error.details() or 'no details'}")


async def explain(endpoint: Endpoint, error: grpc.aio.AioRpcError) -> PeerError:
    """Like peer_error, but an UNAVAILABLE behind TLS is looked into and its certificate fault named."""
    if error.code() is grpc.StatusCode.UNAVAILABLE and endpoint.use_tls:
        reason = await tls.explain_handshake(
            *endpoint.host_port,
            endpoint.ca,
            client_cert=endpoint.client_cert,
            client_key=endpoint.client_key,
        )
        if reason:
            return PeerCertificate(
                endpoint.peer,
                f"at {endpoint.target} {reason}",
                hint=f"Check the address, the CA and the client certificate set for {endpoint.peer}.",
            )
    return peer_error(endpoint.peer, error)


def status_of(error: VoxloopError) -> grpc.StatusCode:
    """The gRPC status under which our own servers report an error."""
    if isinstance(error, InputError):
        return grpc.StatusCode.UNAUTHENTICATED if error.status == 401 else grpc.StatusCode.INVALID_ARGUMENT
    if isinstance(error, Overloaded):
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    if isinstance(error, PeerTimeout):
        return grpc.StatusCode.DEADLINE_EXCEEDED
    if error.retryable:
        return grpc.StatusCode.UNAVAILABLE
    return grpc.StatusCode.FAILED_PRECONDITION if isinstance(error, PeerError) else grpc.StatusCode.INTERNAL
