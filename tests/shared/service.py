"""A service in miniature, as `python -m tests.shared.service`: what run_service makes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
from fastapi import APIRouter, FastAPI, WebSocket
from pydantic_settings import SettingsConfigDict

from shared import app as base
from shared.errors import StartupError
from shared.health import Health
from shared.settings import Port, ServiceSettings

log = logging.getLogger(__name__)


class MiniatureSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="MINIATURE_", extra="ignore", frozen=True)

    http_port: Port = 0
    grpc_port: Port = 0
    missing: str = ""
    """What the lifespan says that it lacks."""


async def wait(_: bytes, __: object) -> bytes:
    log.info("gRPC waits")
    return await asyncio.get_running_loop().create_future()


def create_app(settings: MiniatureSettings) -> FastAPI:
    router = APIRouter()

    @router.get("/wait")
    async def wait_over_http() -> None:
        log.info("HTTP waits")
        await asyncio.get_running_loop().create_future()

    @router.websocket("/count")
    async def count(socket: WebSocket) -> None:
        await socket.accept()
        async for message in socket.iter_bytes():
            await socket.send_text(str(len(message)))

    def add(server: grpc.aio.Server) -> None:
        handlers = {"Wait": grpc.unary_unary_rpc_method_handler(wait)}  # type: ignore[arg-type]
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if settings.missing:
            raise StartupError(f"{settings.missing} is missing.", hint="Fetch it.")
        try:
            async with base.grpc_server(settings, settings.grpc_port, add, ["test.Test"]) as port:
                log.info("gRPC on %d", port)
                yield
        finally:
            await asyncio.sleep(0)  # cleaning up takes the loop
            log.info("cleaned up")

    return base.create_app("miniature", settings, Health({}), [router], lifespan)


if __name__ == "__main__":
    base.run_service("miniature", MiniatureSettings, create_app)
