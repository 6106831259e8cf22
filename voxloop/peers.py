"""Where each engine and service of this installation is, and one real request to each.

The addresses are the ones that the services read; a stand-in of `voxloop up` is meant where none is set, as
voxloop.stack has it. Unlike there nothing is made on the way: `doctor` and `smoke` look at what is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from embedded.face.settings import FaceSettings
from embedded.speech.settings import SpeechSettings
from embedded.triton.settings import TritonSettings
from services.aurora.audio2face import Audio2Face
from services.aurora.settings import AuroraSettings
from services.nova.app import open_contract
from services.nova.service import Nova
from services.nova.settings import NovaSettings
from services.sophia.riva import Riva
from services.sophia.settings import SophiaSettings
from shared.channels import Endpoint
from shared.errors import PeerProtocol, PeerTimeout, PeerUnavailable, VoxloopError
from shared.settings import load
from voxloop.stack import VoxloopSettings

ANSWER_S = 20.0
"""How long any one of them may take."""


@dataclass(frozen=True)
class Peers:
    upstream: NovaSettings
    """Triton, or what else nova asks for text."""
    riva: Endpoint
    audio2face: Endpoint
    nova: Endpoint
    aurora: Endpoint
    nova_url: str
    sophia_url: str
    aurora_url: str

    @property
    def voice_url(self) -> str:
        return f"{self.sophia_url.replace('http', 'ws', 1)}/sophia/voice"

    @property
    def upstream_address(self) -> str:
        openai = self.upstream.contract == "openai"
        return self.upstream.openai_url if openai else self.upstream.triton_url


def from_environment() -> Peers:
    """Raises SettingsError."""
    nova, sophia, aurora = load(NovaSettings), load(SophiaSettings), load(AuroraSettings)
    riva, audio2face = sophia.riva(), aurora.audio2face()
    if not os.environ.get("SOPHIA_RIVA_URI"):
        speech = load(SpeechSettings)
        folder = os.environ.get("VOXLOOP_SPEECH_TLS") or load(VoxloopSettings).state.absolute() / "tls"
        riva = Endpoint("riva", f"{speech.host}:{speech.port}", use_tls=True, ca=Path(folder) / "ca.pem")
    if not os.environ.get("AURORA_A2F_URI"):
        face = load(FaceSettings)
        audio2face = Endpoint("audio2face", f"{face.host}:{face.port}")
    triton_url = nova.triton_url
    if not os.environ.get("NOVA_TRITON_URL"):
        triton = load(TritonSettings)
        triton_url = f"{triton.host}:{triton.grpc_port}"
    return Peers(
        # Who looks does not mend.
        upstream=nova.model_copy(update={"mend": False, "triton_url": triton_url}),
        riva=riva,
        audio2face=audio2face,
        nova=_own(sophia.nova(), "SOPHIA_NOVA_URI", f"{nova.host}:{nova.grpc_port}"),
        aurora=_own(sophia.aurora(), "SOPHIA_AURORA_URI", f"{aurora.host}:{aurora.grpc_port}"),
        nova_url=f"http://{nova.host}:{nova.http_port}",
        sophia_url=f"http://{sophia.host}:{sophia.http_port}",
        aurora_url=f"http://{aurora.host}:{aurora.http_port}",
    )


def _own(endpoint: Endpoint, variable: str, here: str) -> Endpoint:
    target = endpoint.target if os.environ.get(variable) else here
    return Endpoint(endpoint.peer, target, metadata=endpoint.metadata)


async def ask_upstream(peers: Peers) -> None:
    """One token, from the engine itself. Raises PeerError."""
    contract = open_contract(peers.upstream)
    try:
        await Nova(contract, peers.upstream).probe()
    finally:
        await contract.close()


async def ask_riva(peers: Peers) -> None:
    """TLS, credentials, and both lists of models. Raises PeerError."""
    async with open_riva(peers) as riva:
        await riva.probe()


@asynccontextmanager
async def open_riva(peers: Peers) -> AsyncIterator[Riva]:
    riva = Riva(peers.riva, speech_deadline_s=ANSWER_S / 2)
    try:
        yield riva
    finally:
        await riva.close()


async def ask_audio2face(peers: Peers) -> None:
    """A frame's worth of silence, animated. Raises PeerError."""
    audio2face = Audio2Face(peers.audio2face, write_timeout_s=2.0, frame_timeout_s=ANSWER_S / 2)
    try:
        await audio2face.probe()
    finally:
        await audio2face.close()


async def ask_service(peer: str, url: str) -> str:
    """/readyz of a service of ours: "ready" or "degraded". Raises PeerError with what it misses."""
    answer = await get(peer, f"{url}/readyz", accept=(200, 503))
    try:
        body = answer.json()
        missing = [f"{name}: {at['error']}" for name, at in body["dependencies"].items() if not at["ok"]]
        status: str = body["status"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PeerProtocol(peer, f"something else than {peer} answers at {url}") from None
    if status == "not ready":
        raise PeerUnavailable(peer, f"is not ready: {'; '.join(missing)}")
    return "; ".join([status, *missing])


async def get(peer: str, url: str, accept: tuple[int, ...] = (200,), *, password: str = "") -> httpx.Response:
    """`password` is that of the user `admin`. Raises PeerError."""
    auth = httpx.BasicAuth("admin", password) if password else None
    try:
        async with httpx.AsyncClient(timeout=ANSWER_S / 2, trust_env=False, auth=auth) as client:
            answer = await client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PeerUnavailable(peer, f"nobody answers at {url} ({type(error).__name__})") from None
    if answer.status_code not in accept:
        raise PeerProtocol(peer, f"{url} answered {answer.status_code}")
    return answer


T = TypeVar("T")


async def outcome(peer: str, request: Awaitable[T], deadline_s: float = ANSWER_S) -> T | VoxloopError:
    """What the request returns, or what went wrong with it; a deadline is that as well."""
    try:
        async with asyncio.timeout(deadline_s):
            return await request
    except TimeoutError:
        return PeerTimeout(peer, f"no answer in {deadline_s:g} s")
    except VoxloopError as error:
        return error
