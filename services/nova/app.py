"""nova as an application: one upstream connection, REST on one port and gRPC on another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from services.nova import grpc_api, openai_routes, routes
from services.nova.body_limit import BodyLimit
from services.nova.contracts import Contract
from services.nova.contracts.openai import OpenAiContract
from services.nova.contracts.triton_model import TritonModel
from services.nova.contracts.trtllm import TrtllmContract
from services.nova.contracts.vllm import VllmContract
from services.nova.service import Nova
from services.nova.settings import NovaSettings
from services.nova.triton_client import TritonClient
from shared import app as base
from shared import openai_errors
from shared.health import Health


def create_app(settings: NovaSettings) -> FastAPI:
    """To be called on the loop that will run it. `app.state` holds `nova` and, later, its `grpc_port`."""
    contract = open_contract(settings)
    nova = Nova(contract, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with base.grpc_server(
                settings,
                settings.grpc_port,
                grpc_api.NovaServicer(nova).add_to,
                [grpc_api.NAME],
                settings.max_body_bytes,
            ) as port:
                app.state.grpc_port = port
                yield
        finally:
            await contract.close()

    check = Health({contract.peer: nova.probe})
    app = base.create_app("nova", settings, check, [routes.router, openai_routes.router], lifespan)
    app.state.nova = nova
    elsewhere: Any = app.exception_handlers[HTTPException]

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        """Also where no route is: a client of OpenAI's reads its own form under /v1."""
        if request.url.path.startswith("/v1/"):
            return openai_errors.refusal(error)
        response: Response = await elsewhere(request, error)
        return response

    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    return app


def open_contract(settings: NovaSettings) -> Contract:
    deadlines = settings.deadlines()
    if settings.contract == "openai":
        connections = settings.max_in_flight + 1  # the probe's
        return OpenAiContract(
            settings.openai_url, settings.model, settings.openai_api_key, deadlines, connections=connections
        )
    model = TritonModel(TritonClient(settings.triton_url, deadlines, mend=settings.mend), settings.model)
    return VllmContract(model) if settings.contract == "vllm" else TrtllmContract(model)
