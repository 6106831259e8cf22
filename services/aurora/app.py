"""The FastAPI app of aurora, with its gRPC server beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.aurora import viewers
from services.aurora.audio2face import PEER, Audio2Face
from services.aurora.classic import ClassicAudio2Face
from services.aurora.rotation import LongAudio2Face
from services.aurora.service import FaceService
from services.aurora.settings import AuroraSettings
from services.aurora.upstream import Upstream
from shared.app import create_app as base_app
from shared.app import grpc_server
from shared.health import Health
from shared.wire.aurora.v1 import aurora_pb2
from shared.wire.aurora.v1.aurora_pb2_grpc import add_AuroraServicer_to_server

SERVICE = aurora_pb2.DESCRIPTOR.services_by_name["Aurora"].full_name


def create_app(settings: AuroraSettings) -> FastAPI:
    """Must be called on the running event loop's thread: gRPC channels belong to it."""
    audio2face = _upstream(settings)
    watchers = viewers.Viewers(settings.viewer_buffer_ms)
    service = FaceService(audio2face, watchers, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with grpc_server(
                settings,
                settings.grpc_port,
                lambda server: add_AuroraServicer_to_server(service, server),
                [SERVICE],
            ) as app.state.grpc_port:
                yield
        finally:
            watchers.close()
            await audio2face.close()

    check = Health({PEER: audio2face.probe})
    return base_app("aurora", settings, check, [viewers.router(watchers, settings)], lifespan)


def _upstream(settings: AuroraSettings) -> Upstream:
    endpoint = settings.audio2face()
    if settings.a2f_contract == "classic":
        return ClassicAudio2Face(endpoint, settings.scene(), settings.write_timeout_s)
    audio2face = Audio2Face(
        endpoint, write_timeout_s=settings.write_timeout_s, frame_timeout_s=settings.frame_timeout_s
    )
    return LongAudio2Face(audio2face, settings.rotate_s)
