"""The FastAPI app of aurora, with its gRPC server beside it."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from services.aurora import routes, viewers
from services.aurora.audio2face import PEER, Audio2Face
from services.aurora.classic import ClassicAudio2Face
from services.aurora.livelink import LiveLink
from services.aurora.recorder import Recorder
from services.aurora.rotation import LongAudio2Face
from services.aurora.service import FaceService
from services.aurora.settings import AuroraSettings
from services.aurora.upstream import Upstream
from services.aurora.viewers import Viewers
from shared.app import create_app as base_app
from shared.app import grpc_server
from shared.errors import StartupError
from shared.health import Health
from shared.wire.aurora.v1 import aurora_pb2
from shared.wire.aurora.v1.aurora_pb2_grpc import add_AuroraServicer_to_server

log = logging.getLogger(__name__)

SERVICE = aurora_pb2.DESCRIPTOR.services_by_name["Aurora"].full_name


def create_app(settings: AuroraSettings) -> FastAPI:
    """Must be called on the running event loop's thread: gRPC channels belong to it."""
    audio2face = _upstream(settings)
    watchers = Viewers(settings.viewer_buffer_ms)
    recorder = _recorder(settings)
    service = FaceService(audio2face, watchers, recorder, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with (
                _live_link(watchers, settings),
                grpc_server(
                    settings,
                    settings.grpc_port,
                    lambda server: add_AuroraServicer_to_server(service, server),
                    [SERVICE],
                ) as app.state.grpc_port,
            ):
                yield
        finally:
            watchers.close()
            await audio2face.close()
            if recorder:
                await recorder.close()

    check = Health({PEER: audio2face.probe})
    return base_app(
        "aurora", settings, check, [viewers.router(watchers, settings), routes.router(service)], lifespan
    )


def _upstream(settings: AuroraSettings) -> Upstream:
    endpoint = settings.audio2face()
    if settings.a2f_contract == "classic":
        return ClassicAudio2Face(endpoint, settings.scene(), settings.write_timeout_s)
    audio2face = Audio2Face(
        endpoint, write_timeout_s=settings.write_timeout_s, frame_timeout_s=settings.frame_timeout_s
    )
    return LongAudio2Face(audio2face, settings.rotate_s)


def _recorder(settings: AuroraSettings) -> Recorder | None:
    if settings.record is None:
        return None
    if settings.a2f_contract == "classic":
        log.warning(
            "AURORA_RECORD keeps the voice alone, as WAV: the classic Audio2Face sends frames by Live Link, "
            "none here. Unreal's Take Recorder keeps the face; AURORA_A2F_CONTRACT=audio2face-3d has both"
        )
        return Recorder(settings.record, ())
    if "usd" in settings.record_formats and importlib.util.find_spec("pxr") is None:
        raise StartupError(
            "AURORA_RECORD asks for USD, and usd-core is not installed.",
            hint='pip install "voxloop[record]", or AURORA_RECORD_FORMATS=csv.',
        )
    return Recorder(settings.record, settings.record_formats)


@asynccontextmanager
async def _live_link(watchers: Viewers, settings: AuroraSettings) -> AsyncIterator[None]:
    """Sees what every viewer sees, in the same time."""
    hosts = settings.livelink_hosts()
    if not hosts:
        yield
        return
    with watchers.watching(None, settings.viewer_queue) as viewer:
        showing = asyncio.create_task(LiveLink(hosts, settings.livelink_subject).run(viewer))
        try:
            yield
        finally:
            showing.cancel()
            with suppress(asyncio.CancelledError):
                await showing
