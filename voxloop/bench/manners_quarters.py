"""sophia, nova and aurora with bench loop's engines and the embedded face, each of which may be ended."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil

from shared.errors import PeerUnavailable
from shared.process import free_port
from voxloop.bench.loop import ENGINES_MODULE, free_engines, nova_unit, sophia_unit, supervised
from voxloop.bench.loop_engines import Pace
from voxloop.bench.nova_stack import MB, unit
from voxloop.stack import Probe, Unit
from voxloop.supervisor import Supervisor


@dataclass(frozen=True)
class Quarters:
    address: str
    """host:port of sophia."""
    supervisor: Supervisor

    @property
    def http(self) -> str:
        return f"http://{self.address}"

    @property
    def voice_url(self) -> str:
        return f"ws://{self.address}/sophia/voice"

    @property
    def realtime_url(self) -> str:
        return f"ws://{self.address}/v1/realtime"

    def log(self) -> str:
        """sophia's."""
        return self.supervisor.log_of("sophia").read_text(errors="replace")

    def memory_mb(self) -> float:
        """What sophia alone holds (USS)."""
        return float(psutil.Process(self.supervisor.pid("sophia")).memory_full_info().uss) / MB


@asynccontextmanager
async def quarters(sophia: Mapping[str, str] | None = None) -> AsyncIterator[Quarters]:
    """Starts everything and ends everything; `sophia` is added to its environment. Raises StartupError."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        async with free_engines(folder, Pace()) as (_, ports), supervised(folder) as supervisor:
            riva, nova_http, nova, aurora_http, aurora, face, http = (free_port() for _ in range(7))
            await supervisor.start(
                [_riva(folder, riva), _face(face), nova_unit(ports["model"], nova_http, nova)]
            )
            await supervisor.start([_aurora(aurora_http, aurora, face)])
            more = {"SOPHIA_AURORA_URI": f"127.0.0.1:{aurora}", **(sophia or {})}
            await supervisor.start([sophia_unit(riva, folder, nova, http, more)])
            yield Quarters(f"127.0.0.1:{http}", supervisor)


def _riva(folder: Path, port: int) -> Unit:
    arguments = (str(folder), orjson.dumps(Pace()).decode(), str(port))
    return Unit("riva", ENGINES_MODULE, {}, {}, {}, _listens("riva", port), arguments=arguments)


def _face(port: int) -> Unit:
    env = {"VOXLOOP_FACE_PORT": str(port), "VOXLOOP_FACE_LOG_LEVEL": "warning"}
    return Unit("face", "embedded.face", env, {}, {}, _listens("face", port))


def _aurora(http: int, grpc: int, face: int) -> Unit:
    env = {
        "AURORA_HTTP_PORT": str(http),
        "AURORA_GRPC_PORT": str(grpc),
        "AURORA_A2F_URI": f"127.0.0.1:{face}",
        "AURORA_LOG_LEVEL": "warning",
    }
    return unit("aurora", "services.aurora", env, f"http://127.0.0.1:{http}/healthz")


def _listens(name: str, port: int) -> Probe:
    async def probe() -> None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            raise PeerUnavailable(name, "it does not listen yet") from None
        writer.close()

    return probe
