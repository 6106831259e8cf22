"""The FastAPI app that every service starts from, and the process that serves it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import grpc.aio
import uvicorn
import uvloop
from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from shared import channels, metrics, problems, process
from shared.auth import OPEN_PATHS, ApiKeyInterceptor, ApiKeyMiddleware, Credentials
from shared.errors import StartupError, VoxloopError
from shared.health import Health
from shared.settings import ServiceSettings, load
from shared.websocket import WebSockets

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

Drain = Callable[[], Awaitable[None]]
"""Lets what runs come to its end, within a time of its own; meanwhile the server still answers."""

GRACE_S = 2
"""Seconds that running requests may take to end after SIGTERM: over HTTP, and then over gRPC."""
MAX_WS_MESSAGE = 1 << 20  # bytes; half a minute of 16 kHz audio

S = TypeVar("S", bound=ServiceSettings)


def create_app(
    title: str,
    settings: ServiceSettings,
    check: Health,
    routers: Iterable[APIRouter],
    lifespan: Lifespan,
    *,
    open_paths: frozenset[str] = frozenset(),
    drain: Drain | None = None,
) -> FastAPI:
    """`open_paths` are served without a key too; `drain` is waited for before the server ends."""
    # /docs brings its scripts along: FastAPI's own page would fetch them from another host.
    app = FastAPIOffline(title=f"Voxloop {title}", version="0.1.0", lifespan=lifespan, redoc_url=None)
    problems.install(app)
    for router in (check.router(), metrics.router, *routers):
        app.include_router(router)
    if (credentials := Credentials.of(settings)) is not None:
        app.add_middleware(ApiKeyMiddleware, credentials=credentials, open_paths=OPEN_PATHS | open_paths)
    app.state.drain = drain
    return app


@asynccontextmanager
async def grpc_server(
    settings: ServiceSettings,
    port: int,
    add_services: Callable[[grpc.aio.Server], None],
    names: Iterable[str],
    max_message: int = channels.MAX_MESSAGE,
) -> AsyncIterator[int]:
    """A gRPC server with standard health beside the HTTP app; yields the port that it got. It takes messages
    of at most `max_message` bytes.

    Raises StartupError where it cannot listen; the setting that moves it is GRPC_PORT.
    """
    prefix = settings.model_config.get("env_prefix", "")
    process.ensure_port_free(settings.host, port, "gRPC", f"{prefix}GRPC_PORT")
    credentials = Credentials.of(settings)
    interceptors = [ApiKeyInterceptor(credentials)] if credentials is not None else []
    options = dict(channels.OPTIONS)
    options |= {"grpc.so_reuseport": 0, "grpc.max_receive_message_length": max_message}
    server = grpc.aio.server(interceptors=interceptors, options=tuple(options.items()))
    add_services(server)
    servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    for name in ("", *names):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        bound = server.add_insecure_port(f"{_bracketed(settings.host)}:{port}")
    except RuntimeError as error:
        raise StartupError(f"gRPC cannot listen on {settings.host}, port {port} ({error})") from None
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(GRACE_S)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def configure_logging(level: str) -> None:
    """Our own loggers at `level`; those of libraries never below info.

    Theirs show the wire when they debug: headers with the keys in them, and every word that is said.
    """
    wanted = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(
        level=max(wanted, logging.INFO), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    logging.getLogger("uvicorn.error").addFilter(_is_no_refusal)
    for room in ("shared", "embedded", "services"):
        logging.getLogger(room).setLevel(wanted)


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """uvicorn takes a WebSocket that is refused by an HTTP response for one that nobody answered."""
    return record.msg != "ASGI callable returned without completing handshake."


def run_service(name: str, settings_type: type[S], create_app: Callable[[S], FastAPI]) -> None:
    """Serve until SIGTERM or Ctrl-C. The body of every `python -m services.<name>`.

    Exit status 0 after either of them; 1, with one line that says why, where it cannot start.
    """
    process.supervised()
    try:
        settings = load(settings_type)
        configure_logging(settings.log_level)
        process.ensure_port_free(settings.host, settings.http_port, name, f"{name.upper()}_HTTP_PORT")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            started = runner.run(_serve(settings, create_app))
    except VoxloopError as error:
        raise SystemExit(f"{name}: {error}") from None
    except KeyboardInterrupt:
        return
    if not started:
        raise SystemExit(1)


class _Server(uvicorn.Server):
    """uvicorn, but for a time at its end in which it still serves while the app drains."""

    def __init__(self, config: uvicorn.Config, drain: Drain | None) -> None:
        super().__init__(config)
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._drain is not None:
            await self._drain()
        await super().shutdown(sockets)


async def _serve(settings: S, create_app: Callable[[S], FastAPI]) -> bool:
    app = create_app(settings)  # on the loop that it runs on: gRPC channels belong to one
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            host=settings.host,
            port=settings.http_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_S,
            ws=WebSockets,
            ws_max_size=MAX_WS_MESSAGE,
            ws_per_message_deflate=False,  # audio does not compress, and the frames are small
        ),
        app.state.drain,
    )
    # Entered here and not by uvicorn, which would make a traceback of an error that is one line.
    async with app.router.lifespan_context(app):
        # uvicorn handles these two itself, and once done raises again the one that it got: it must not
        # end us before the cleaning up.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        process.keep_what_is_loaded()
        process.favour_the_loop()
        await server.serve()
    return server.started
