"""/healthz says that the process lives; /readyz asks each dependency by a real probe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import grpc.aio
from fastapi import APIRouter
from fastapi.responses import JSONResponse
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import Gauge

from shared.channels import Endpoint, explain
from shared.errors import PeerUnavailable, VoxloopError

Probe = Callable[[], Awaitable[object]]
"""Does real work at the dependency; raises VoxloopError when that fails."""

PROBE_DEADLINE_S = 3.0
FRESH_S = 1.0
"""Results are shared for this long, so that a storm of /readyz is no storm of inferences."""

DEPENDENCY_UP = Gauge(
    "voxloop_dependency_up", "Whether the last /readyz could work with a dependency: 1 or 0", ["dependency"]
)


@dataclass(frozen=True)
class ProbeResult:
    ok: bool
    ms: float
    error: str = ""
    code: str = ""


class Health:
    """`optional` names the dependencies without which the service still does its main job."""

    def __init__(self, probes: Mapping[str, Probe], *, optional: frozenset[str] = frozenset()) -> None:
        self._probes = probes
        self._optional = optional
        self._lock = asyncio.Lock()
        self._results: dict[str, ProbeResult] = {}
        self._checked_at = float("-inf")

    async def check(self) -> dict[str, ProbeResult]:
        async with self._lock:
            if time.monotonic() - self._checked_at > FRESH_S:
                results = await asyncio.gather(*(_run(probe) for probe in self._probes.values()))
                self._results = dict(zip(self._probes, results, strict=True))
                for name, result in self._results.items():
                    DEPENDENCY_UP.labels(name).set(result.ok)
                self._checked_at = time.monotonic()
            return self._results

    def router(self) -> APIRouter:
        router = APIRouter(tags=["health"])

        @router.get("/healthz")
        async def healthz() -> dict[str, str]:
            return {"status": "alive"}

        @router.get("/readyz")
        async def readyz() -> JSONResponse:
            results = await self.check()
            missing = [name for name, result in results.items() if not result.ok]
            ready = all(name in self._optional for name in missing)
            status = "not ready" if not ready else "degraded" if missing else "ready"
            dependencies = {
                name: {"ok": result.ok, "ms": round(result.ms, 1)}
                | ({} if result.ok else {"error": result.error, "code": result.code})
                for name, result in results.items()
            }
            return JSONResponse({"status": status, "dependencies": dependencies}, 200 if ready else 503)

        return router


async def _run(probe: Probe) -> ProbeResult:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(PROBE_DEADLINE_S):
            await probe()
    except TimeoutError:
        return ProbeResult(
            False,
            (time.perf_counter() - started) * 1e3,
            f"no answer in {PROBE_DEADLINE_S:g} s",
            "peer_timeout",
        )
    except VoxloopError as error:
        return ProbeResult(False, (time.perf_counter() - started) * 1e3, error.message, error.code)
    return ProbeResult(True, (time.perf_counter() - started) * 1e3)


async def probe_grpc(endpoint: Endpoint, channel: grpc.aio.Channel) -> None:
    """grpc.health.v1 of a peer; raises PeerError unless it is serving."""
    stub = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
    try:
        answer = await stub.Check(
            health_pb2.HealthCheckRequest(), timeout=PROBE_DEADLINE_S, metadata=endpoint.metadata
        )
    except grpc.aio.AioRpcError as error:
        raise await explain(endpoint, error) from None
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise PeerUnavailable(endpoint.peer, f"at {endpoint.target} says that it is not serving")
