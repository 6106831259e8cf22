"""Clients of the nova whose engine does what its prompt says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import httpx
import pytest

from shared.wire.nova.v1 import nova_pb2_grpc
from tests.fixtures.nova import NovaService


@pytest.fixture(scope="session")
async def http(obedient_nova: NovaService) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=obedient_nova.http, timeout=10) as client:
        yield client


@pytest.fixture(scope="session")
async def stub(obedient_nova: NovaService) -> AsyncIterator[nova_pb2_grpc.NovaAsyncStub]:
    async with grpc.aio.insecure_channel(obedient_nova.grpc) as channel:
        yield nova_pb2_grpc.NovaStub(channel)
