"""The face server: the servicer beside grpc.health.v1 on one port, until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import signal

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from prometheus_client import start_http_server

from embedded.face.service import FaceServicer
from embedded.face.settings import FaceSettings
from shared import channels, process
from shared.errors import SettingsError, StartupError
from shared.wire.audio2face import controller_pb2
from shared.wire.audio2face.controller_pb2_grpc import add_A2FControllerServiceServicer_to_server

log = logging.getLogger(__name__)

SERVICE = controller_pb2.DESCRIPTOR.services_by_name["A2FControllerService"].full_name
GRACE_S = 2.0
"""How long running streams may take to end after SIGTERM."""


async def serve(settings: FaceSettings) -> None:
    """Until SIGTERM or SIGINT. Raises StartupError or SettingsError where it cannot begin."""
    stop = _signals()  # before a port is open: whoever sees it may send one
    process.ensure_port_free(settings.host, settings.port, "the face server", "VOXLOOP_FACE_PORT")
    server = grpc.aio.server(options=(*channels.OPTIONS, ("grpc.so_reuseport", 0)))
    add_A2FControllerServiceServicer_to_server(FaceServicer(settings), server)
    servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    for name in ("", SERVICE):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    process.keep_what_is_loaded()
    port = _bind(server, settings)
    if settings.metrics_port is not None:
        process.ensure_port_free(
            settings.host, settings.metrics_port, "the face server's metrics", "VOXLOOP_FACE_METRICS_PORT"
        )
        start_http_server(settings.metrics_port, settings.host)
    await server.start()
    process.favour_the_loop()
    log.info("the face server listens on %s:%d", settings.host, port)
    await stop.wait()
    await servicer.enter_graceful_shutdown()
    await server.stop(GRACE_S)


def _bind(server: grpc.aio.Server, settings: FaceSettings) -> int:
    address = f"{settings.host}:{settings.port}"
    try:
        if settings.tls_cert is None or settings.tls_key is None:
            return server.add_insecure_port(address)
        ca = settings.tls_client_ca.read_bytes() if settings.tls_client_ca else None
        credentials = grpc.ssl_server_credentials(
            [(settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())],
            root_certificates=ca,
            require_client_auth=ca is not None,
        )
        return server.add_secure_port(address, credentials)
    except OSError as error:
        raise SettingsError(f"the TLS file {error.filename} cannot be read ({error.strerror})") from None
    except RuntimeError as error:
        raise StartupError(f"the face server cannot bind {address} ({error})") from None


def _signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
