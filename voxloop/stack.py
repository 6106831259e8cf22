"""What runs on this machine: which processes, with which environment, and how each is asked whether it works.

A peer whose address you set yourself (NOVA_TRITON_URL, SOPHIA_RIVA_URI, AURORA_A2F_URI) is used as it
is, and its embedded stand-in is not started. The services never learn the difference.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from pydantic_settings import BaseSettings, SettingsConfigDict

from embedded.face.settings import FaceSettings
from embedded.speech.settings import SpeechSettings
from embedded.triton.settings import TritonSettings
from services.aurora.settings import AuroraSettings
from services.nova.settings import NovaSettings
from services.sophia.riva import Riva
from services.sophia.settings import SophiaSettings
from shared import process, tls
from shared.channels import Endpoint, open_channel
from shared.errors import PeerProtocol, PeerUnavailable
from shared.health import probe_grpc
from shared.settings import ServiceSettings, load
from voxloop import model_state
from voxloop.paths import ROOT

PORTS = (
    "VOXLOOP_TRITON_HTTP_PORT",
    "VOXLOOP_TRITON_GRPC_PORT",
    "VOXLOOP_TRITON_METRICS_PORT",
    "VOXLOOP_SPEECH_PORT",
    "VOXLOOP_FACE_PORT",
    "NOVA_HTTP_PORT",
    "NOVA_GRPC_PORT",
    "AURORA_HTTP_PORT",
    "AURORA_GRPC_PORT",
    "SOPHIA_HTTP_PORT",
)
"""The settings of every port that something of the stack listens on."""

Probe = Callable[[], Awaitable[None]]

BROUGHT_MODEL_READY_S = 300.0
"""How long a model that the operator brings may take to load: as long as models/nova waits for its engine."""


@dataclass(frozen=True)
class Unit:
    """One process of ours."""

    name: str
    module: str
    env: Mapping[str, str]
    ports: Mapping[str, tuple[str, int]]
    """setting → (host, port), checked before anything starts."""
    addresses: Mapping[str, str]
    probe: Probe = field(repr=False)
    ready_s: float = 60.0
    """How long it may take to answer its probe."""
    arguments: tuple[str, ...] = ()


class VoxloopSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="VOXLOOP_", extra="ignore", frozen=True)

    state: Path = ROOT / ".voxloop"
    """Certificates, logs and caches."""


@dataclass(frozen=True)
class Stack:
    engines: tuple[Unit, ...]
    services: tuple[Unit, ...]
    voice_url: str
    page_url: str
    logs: Path

    @property
    def units(self) -> tuple[Unit, ...]:
        return (*self.engines, *self.services)

    def check_ports(self) -> None:
        """Raise StartupError for the first port that somebody else holds."""
        for unit in self.units:
            for setting, (host, port) in unit.ports.items():
                process.ensure_port_free(host, port, unit.name, setting)


def from_environment() -> Stack:
    """Read every setting; makes the certificates that are missing. Raises SettingsError."""
    given = os.environ
    state = load(VoxloopSettings).state.absolute()
    env: dict[str, str] = {}
    engines: list[Unit] = []
    if not given.get("NOVA_TRITON_URL") and load(NovaSettings).contract != "openai":
        triton = load(TritonSettings)
        env["NOVA_TRITON_URL"] = f"{triton.host}:{triton.grpc_port}"
        model = model_state.in_use(state).path
        engines.append(_triton(triton, given.get("VOXLOOP_TRITON_CACHE", str(state / "triton")), model))
    if not given.get("SOPHIA_RIVA_URI"):
        speech = load(SpeechSettings)
        certificates = tls.ensure_certificates(Path(given.get("VOXLOOP_SPEECH_TLS", state / "tls")))
        env |= {"SOPHIA_RIVA_URI": f"{speech.host}:{speech.port}", "SOPHIA_RIVA_CA": str(certificates.ca)}
        engines.append(_speech(speech, certificates))
    if not given.get("AURORA_A2F_URI"):
        face = load(FaceSettings)
        env["AURORA_A2F_URI"] = f"{face.host}:{face.port}"
        engines.append(_face(face))
    nova, aurora, sophia = load(NovaSettings), load(AuroraSettings), load(SophiaSettings)
    if not given.get("SOPHIA_NOVA_URI"):
        env["SOPHIA_NOVA_URI"] = f"{nova.host}:{nova.grpc_port}"
    if not given.get("SOPHIA_AURORA_URI"):
        env["SOPHIA_AURORA_URI"] = f"{aurora.host}:{aurora.grpc_port}"
    services = (
        _service("nova", nova, nova.grpc_port, env),
        _service("aurora", aurora, aurora.grpc_port, env),
        _service("sophia", sophia, None, env),
    )
    base = f"{sophia.host}:{sophia.http_port}"
    return Stack(tuple(engines), services, f"ws://{base}/sophia/voice", f"http://{base}/", state / "logs")


def _triton(settings: TritonSettings, cache: str, model: Path) -> Unit:
    brought = model != model_state.NOVA_MINI
    http = f"http://{settings.host}:{settings.http_port}"

    async def probe() -> None:
        # Ready is not enough: this server says so even when its model is gone.
        body = {"text_input": "hello", "sampling_parameters": '{"max_tokens": 1}'}
        await _http("triton", "POST", f"{http}/v2/models/nova/generate", body)

    return Unit(
        "triton",
        "embedded.triton",
        {"VOXLOOP_TRITON_CACHE": cache} | ({"VOXLOOP_MODEL": str(model)} if brought else {}),
        {
            f"VOXLOOP_TRITON_{kind}_PORT": (settings.host, port)
            for kind, port in (
                ("HTTP", settings.http_port),
                ("GRPC", settings.grpc_port),
                ("METRICS", settings.metrics_port),
            )
        },
        {"http": http, "grpc": f"{settings.host}:{settings.grpc_port}"},
        probe,
        BROUGHT_MODEL_READY_S if brought else Unit.ready_s,
    )


def _speech(settings: SpeechSettings, certificates: tls.CertificateFiles) -> Unit:
    target = f"{settings.host}:{settings.port}"

    async def probe() -> None:
        riva = Riva(Endpoint("riva", target, use_tls=True, ca=certificates.ca), speech_deadline_s=2.0)
        try:
            await riva.probe()
        finally:
            await riva.close()

    ports = {"VOXLOOP_SPEECH_PORT": (settings.host, settings.port)}
    env = {"VOXLOOP_SPEECH_TLS": str(certificates.ca.parent)}
    return Unit("speech", "embedded.speech", env, ports, {"grpc (TLS)": target}, probe)


def _face(settings: FaceSettings) -> Unit:
    target = f"{settings.host}:{settings.port}"

    async def probe() -> None:
        endpoint = Endpoint("audio2face", target)
        async with open_channel(endpoint) as channel:
            await probe_grpc(endpoint, channel)

    ports = {"VOXLOOP_FACE_PORT": (settings.host, settings.port)}
    return Unit("face", "embedded.face", {}, ports, {"grpc": target}, probe)


def _service(name: str, settings: ServiceSettings, grpc_port: int | None, env: Mapping[str, str]) -> Unit:
    prefix = name.upper()
    http = f"http://{settings.host}:{settings.http_port}"
    ports = {f"{prefix}_HTTP_PORT": (settings.host, settings.http_port)}
    addresses = {"http": http}
    if grpc_port is not None:
        ports[f"{prefix}_GRPC_PORT"] = (settings.host, grpc_port)
        addresses["grpc"] = f"{settings.host}:{grpc_port}"

    async def probe() -> None:
        await _http(name, "GET", f"{http}/readyz")

    own = {key: value for key, value in env.items() if key.startswith(prefix)}
    return Unit(name, f"services.{name}", own, ports, addresses, probe)


async def _http(peer: str, method: str, url: str, body: object = None) -> None:
    try:
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
            answer = await client.request(method, url, json=body)
    except httpx.TransportError as error:
        raise PeerUnavailable(peer, f"{url}: {type(error).__name__}") from None
    if answer.status_code != httpx.codes.OK:
        raise PeerProtocol(peer, f"{url} answered {answer.status_code}: {answer.text[:300]}")
