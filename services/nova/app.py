"""nova as an application: one upstream connection, REST on one port and gRPC on another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
from fastapi import FastAPI

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
from shared.health import Health
from shared.wire.nova.v1 import nova_pb2_grpc


def create_app(settings: NovaSettings) -> FastAPI:
    """To be called on the loop that will run it. `app.state` holds `nova` and, later, its `grpc_port`."""
    contract = open_contract(settings)
    nova = Nova(contract, settings)

    def add(server: grpc.aio.Server) -> None:
        nova_pb2_grpc.add_NovaServicer_to_server(grpc_api.NovaServicer(nova), server)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with base.grpc_server(settings, settings.grpc_port, add, [grpc_api.NAME]) as port:
                app.state.grpc_port = port
                yield
        finally:
            await contract.close()

    check = Health({contract.peer: nova.probe})
    app = base.create_app("nova", settings, check, [routes.router, openai_routes.router], lifespan)
    app.state.nova = nova
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
