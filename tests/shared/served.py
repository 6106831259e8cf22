"""An app of shared.app.create_app behind a real uvicorn, on a port that the system chooses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import APIRouter, FastAPI
from pydantic_settings import SettingsConfigDict

from shared.app import create_app
from shared.health import Health, Probe
from shared.settings import Port, ServiceSettings
from shared.websocket import WebSockets


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TEST_", extra="ignore", frozen=True)

    http_port: Port = 0


@asynccontextmanager
async def no_lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def served(
    *routers: APIRouter,
    keys: Iterable[str] = (),
    probes: Mapping[str, Probe] | None = None,
    optional: frozenset[str] = frozenset(),
    **more: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(api_keys=tuple(keys), **more)
    app = create_app("test", settings, Health(probes or {}, optional=optional), routers, no_lifespan)
    config = uvicorn.Config(app, log_config=None, access_log=False, ws=WebSockets)
    server = uvicorn.Server(config)
    # Listening before uvicorn is there: a client may connect at once, and waits.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        host, port = listener.getsockname()
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
            yield client
        server.should_exit = True
        await serving


def websocket(client: httpx.AsyncClient, path: str) -> str:
    return str(client.base_url.copy_with(scheme="ws", path=path))
