"""nova as an application: one upstream connection, REST on one port and gRPC on another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
from fastapi import FastAPI

from services.nova import grpc_api, routes
from services.nova.body_limit import BodyLimit
from services.nova.contracts import Contract
from services.nova.contracts.vllm import VllmContract
from services.nova.service import Nova
from services.nova.settings import NovaSettings
from services.nova.triton_client import PEER as TRITON
from services.nova.triton_client import TritonClient
from shared import app as base
from shared.health import Health
from shared.wire.nova.v1 import nova_pb2_grpc


def create_app(settings: NovaSettings) -> FastAPI:
    """`app.state` holds, while it runs, `nova` and the `grpc_port` that it got."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        contract = open_contract(settings)
        app.state.nova = nova = Nova(contract, settings)

        def add(server: grpc.aio.Server) -> None:
            nova_pb2_grpc.add_NovaServicer_to_server(grpc_api.NovaServicer(nova), server)

        try:
            async with base.grpc_server(settings, settings.grpc_port, add, [grpc_api.NAME]) as port:
                app.state.grpc_port = port
                yield
        finally:
            await contract.close()

    async def answers() -> None:
        await app.state.nova.probe()

    app = base.create_app("nova", settings, Health({TRITON: answers}), [routes.router], lifespan)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    return app


def open_contract(settings: NovaSettings) -> Contract:
    client = TritonClient(
        settings.triton_url,
        first_token_s=settings.first_token_deadline_s,
        inter_token_s=settings.inter_token_deadline_s,
    )
    return VllmContract(client, settings.model)
