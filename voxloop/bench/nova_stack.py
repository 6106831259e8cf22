"""The embedded Triton and nova on ports of their own, and what the kernel knows of their processes."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from shared.errors import PeerTimeout, PeerUnavailable
from shared.process import free_port
from voxloop.stack import Unit
from voxloop.supervisor import Supervisor

MODEL = "nova"
PROBE_S, SETTLE_S = 5.0, 30.0
MB = 1 << 20


@dataclass(frozen=True)
class NovaStack:
    """Addresses are host:port."""

    triton: str
    triton_metrics: str
    http: str
    grpc: str
    nova_process: psutil.Process
    triton_process: psutil.Process

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far: of nova, and of Triton with its models and their engines."""
        return {"nova": _cpu_s([self.nova_process]), "triton": _cpu_s(_family(self.triton_process))}

    def memory_mb(self) -> dict[str, float]:
        """Memory that each alone holds (USS), which shared pages do not blur."""
        return {"nova": _memory_mb([self.nova_process]), "triton": _memory_mb(_family(self.triton_process))}

    async def until_idle(self) -> None:
        """Until the engine generates nothing, which its metrics tell when asked. Raises PeerTimeout."""
        deadline = time.monotonic() + SETTLE_S
        async with httpx.AsyncClient(trust_env=False, timeout=PROBE_S) as client:
            while await self._running(client):
                if time.monotonic() > deadline:
                    raise PeerTimeout("triton", f"its engine still generates after {SETTLE_S:g} s")
                await asyncio.sleep(0.02)

    async def _running(self, client: httpx.AsyncClient) -> float:
        text = (await client.get(f"http://{self.triton_metrics}/metrics")).text
        names = ("voxloop_engine_running{", "voxloop_engine_waiting{")
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(names))


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(process.cpu_times().user + process.cpu_times().system for process in processes)


def _memory_mb(processes: list[psutil.Process]) -> float:
    return float(sum(process.memory_full_info().uss for process in processes)) / MB


@asynccontextmanager
async def nova_stack(env: Mapping[str, str] | None = None) -> AsyncIterator[NovaStack]:
    """Starts both and ends both; `env` goes to both. Raises StartupError."""
    with tempfile.TemporaryDirectory() as folder:
        triton, metrics, http, grpc = (f"127.0.0.1:{free_port()}" for _ in range(4))
        triton_http = f"127.0.0.1:{free_port()}"
        engine = unit(
            "triton",
            "embedded.triton",
            {
                "VOXLOOP_TRITON_HTTP_PORT": _port(triton_http),
                "VOXLOOP_TRITON_GRPC_PORT": _port(triton),
                "VOXLOOP_TRITON_METRICS_PORT": _port(metrics),
                **(env or {}),
            },
            f"http://{triton_http}/v2/models/{MODEL}/ready",
        )
        service = unit(
            "nova",
            "services.nova",
            {
                "NOVA_HTTP_PORT": _port(http),
                "NOVA_GRPC_PORT": _port(grpc),
                "NOVA_TRITON_URL": triton,
                "NOVA_LOG_LEVEL": "warning",
                **(env or {}),
            },
            f"http://{http}/readyz",
        )
        supervisor = Supervisor(Path(folder), lambda *_: None)
        try:
            for one in (engine, service):
                await supervisor.start([one])
            processes = (psutil.Process(supervisor.pid(name)) for name in ("nova", "triton"))
            yield NovaStack(triton, metrics, http, grpc, *processes)
        finally:
            await supervisor.stop()


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def unit(name: str, module: str, env: Mapping[str, str], url: str) -> Unit:
    async def probe() -> None:
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=PROBE_S) as client:
                answer = await client.get(url)
        except httpx.TransportError as error:
            raise PeerUnavailable(name, type(error).__name__) from None
        if not answer.is_success:
            raise PeerUnavailable(name, f"it answers {answer.status_code}")

    return Unit(name, module, env, {}, {}, probe)
