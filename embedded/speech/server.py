"""Riva's two services and standard health on one TLS port."""

from __future__ import annotations

import asyncio
import logging
import signal

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from riva.client.proto import riva_asr_pb2_grpc, riva_tts_pb2_grpc

from embedded.speech.pool import Pool
from embedded.speech.recognition import Recognition
from embedded.speech.settings import SpeechSettings
from embedded.speech.synthesis import Synthesis
from shared import channels, silero, tls
from shared.errors import StartupError
from shared.process import favour_the_loop

log = logging.getLogger(__name__)

GRACE_S = 2.0
SERVICES = ("", "nvidia.riva.asr.RivaSpeechRecognition", "nvidia.riva.tts.RivaSpeechSynthesis")
OPTIONS = (
    *channels.OPTIONS,
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # Our clients ping every 20 s, also over a stream that is silent; gRPC's default calls that abuse.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
)


async def serve(settings: SpeechSettings) -> None:
    """Until SIGTERM or SIGINT."""
    silero.load()  # says what is missing before anything starts
    synthesis = Synthesis()
    pool = Pool(settings.workers, settings.slot_wait_s)
    try:
        await pool.start()
        server = await _start(settings, pool, synthesis)
        log.info("serving Riva's protocol on %s:%d over TLS", settings.host, settings.port)
        await _told_to_end()
        await server.stop(GRACE_S)
    finally:
        await pool.stop()


async def _start(settings: SpeechSettings, pool: Pool, synthesis: Synthesis) -> grpc.aio.Server:
    files = tls.ensure_certificates(settings.tls)
    server = grpc.aio.server(options=OPTIONS)
    riva_asr_pb2_grpc.add_RivaSpeechRecognitionServicer_to_server(
        Recognition(pool, settings.max_streams), server
    )
    riva_tts_pb2_grpc.add_RivaSpeechSynthesisServicer_to_server(synthesis, server)
    servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    for name in SERVICES:
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    credentials = grpc.ssl_server_credentials([(files.key.read_bytes(), files.cert.read_bytes())])
    try:
        server.add_secure_port(f"{settings.host}:{settings.port}", credentials)
    except RuntimeError as error:
        raise StartupError(f"port {settings.port} cannot be bound ({error}).") from None
    await server.start()
    favour_the_loop()
    return server


async def _told_to_end() -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()
