"""/healthz and /readyz, and the probe of a gRPC peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared import health
from shared.channels import Endpoint, open_channel
from shared.errors import (
    Overloaded,
    PeerCertificate,
    PeerProtocol,
    PeerRefused,
    PeerTimeout,
    PeerUnavailable,
    VoxloopError,
)
from shared.health import Health, probe_grpc
from shared.process import free_port
from tests.shared.peers import Pki, grpc_server, talking_server
from tests.shared.served import served


async def works() -> None: ...


async def fails() -> None:
    raise PeerUnavailable("riva", "nobody there", hint="Start it.")


async def hangs() -> None:
    await asyncio.Event().wait()


async def readiness(**options: object) -> httpx.Response:
    async with served(**options) as client:  # type: ignore[arg-type]
        return await client.get("/readyz")


async def test_a_process_that_lives_says_so_whatever_it_depends_on() -> None:
    async with served(probes={"riva": fails}) as client:
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_ready_without_dependencies() -> None:
    answer = await readiness()
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "dependencies": {}})


async def test_ready_when_each_dependency_works() -> None:
    answer = await readiness(probes={"riva": works, "nova": works})
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    for name in ("riva", "nova"):
        result = answer.json()["dependencies"][name]
        assert result.keys() == {"ok", "ms"}
        assert result["ok"] is True
        assert result["ms"] >= 0


async def test_not_ready_where_one_fails_and_it_is_said_which_and_why() -> None:
    answer = await readiness(probes={"riva": fails, "nova": works})
    assert answer.status_code == 503
    assert answer.json()["status"] == "not ready"
    failed = answer.json()["dependencies"]["riva"]
    assert (failed["ok"], failed["error"], failed["code"]) == (
        False,
        "riva: nobody there",
        "peer_unavailable",
    )
    assert answer.json()["dependencies"]["nova"]["ok"] is True


async def test_degraded_and_still_ready_where_an_optional_one_fails() -> None:
    answer = await readiness(probes={"aurora": fails, "nova": works}, optional=frozenset({"aurora"}))
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["dependencies"]["aurora"]["ok"] is False


async def test_not_ready_where_an_optional_and_another_one_fail() -> None:
    answer = await readiness(probes={"aurora": fails, "nova": fails}, optional=frozenset({"aurora"}))
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")


async def test_a_probe_that_hangs_is_given_up_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PROBE_DEADLINE_S", 0.1)
    answer = await readiness(probes={"riva": hangs, "nova": works})
    assert answer.status_code == 503
    hung = answer.json()["dependencies"]["riva"]
    assert (hung["ok"], hung["error"], hung["code"]) == (False, "no answer in 0.1 s", "peer_timeout")
    assert answer.json()["dependencies"]["nova"]["ok"] is True


async def test_probes_run_side_by_side() -> None:
    """Each waits for the other; one after the other they would wait for ever."""
    first, second = asyncio.Event(), asyncio.Event()

    async def one() -> None:
        first.set()
        await second.wait()

    async def two() -> None:
        second.set()
        await first.wait()

    assert all(result.ok for result in (await Health({"one": one, "two": two}).check()).values())


async def test_a_storm_of_readyz_is_one_probe() -> None:
    asked = 0

    async def probe() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)

    async with served(probes={"riva": probe}) as client:
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200}
    assert asked == 1


async def test_an_old_result_is_not_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FRESH_S", 0.0)
    outcomes = iter([False, True, False])

    async def probe() -> None:
        if not next(outcomes):
            raise Overloaded("full")

    async with served(probes={"riva": probe}) as client:
        assert [(await client.get("/readyz")).status_code for _ in range(3)] == [503, 200, 503]


async def test_a_probe_with_a_fault_of_its_own_never_says_ready() -> None:
    async def broken() -> None:
        raise RuntimeError("a bug")

    answer = await readiness(probes={"riva": broken})
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"


# A gRPC peer


async def probed(endpoint: Endpoint) -> None:
    async with open_channel(endpoint) as channel:
        await probe_grpc(endpoint, channel)


@asynccontextmanager
async def health_service(status: int | None) -> AsyncIterator[Endpoint]:
    """A peer whose health is `status`, or that has no health service."""
    server = grpc.aio.server()
    if status is not None:
        servicer = grpc_health.aio.HealthServicer()  # type: ignore[attr-defined]
        await servicer.set("", status)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Endpoint("riva", f"127.0.0.1:{port}")
    await server.stop(None)


async def test_a_peer_that_is_serving_passes(pki: Pki) -> None:
    async with health_service(health_pb2.HealthCheckResponse.SERVING) as endpoint:
        await probed(endpoint)
    async with grpc_server(pki.certificate()) as port:
        await probed(Endpoint("riva", f"127.0.0.1:{port}", use_tls=True, ca=pki.ca))


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (health_pb2.HealthCheckResponse.NOT_SERVING, PeerUnavailable, "says that it is not serving"),
        (health_pb2.HealthCheckResponse.UNKNOWN, PeerUnavailable, "says that it is not serving"),
        (None, PeerProtocol, "unimplemented"),
    ],
)
async def test_a_peer_that_is_not_serving_is_named(
    status: int | None, kind: type[VoxloopError], told: str
) -> None:
    async with health_service(status) as endpoint:
        with pytest.raises(kind, match=told):
            await probed(endpoint)


async def test_a_peer_that_is_not_there_is_named() -> None:
    with pytest.raises(PeerUnavailable):
        await probed(Endpoint("riva", f"127.0.0.1:{free_port()}"))


async def test_a_peer_that_says_nothing_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PROBE_DEADLINE_S", 0.2)
    async with talking_server(None) as port:
        with pytest.raises(PeerTimeout):
            await probed(Endpoint("riva", f"127.0.0.1:{port}"))


async def test_a_certificate_fault_is_told_by_readyz(pki: Pki) -> None:
    async with grpc_server(pki.certificate("expired")) as port:
        endpoint = Endpoint("riva", f"127.0.0.1:{port}", use_tls=True, ca=pki.ca)
        with pytest.raises(PeerCertificate):
            await probed(endpoint)
        answer = await readiness(probes={"riva": lambda: probed(endpoint)})
    told = answer.json()["dependencies"]["riva"]
    assert told["code"] == "peer_certificate"
    assert told["error"] == f"riva: at 127.0.0.1:{port} its certificate has expired"


async def test_the_probe_of_a_protected_peer_brings_its_key() -> None:
    async def check(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        if ("authorization", "Bearer key") not in tuple(context.invocation_metadata() or ()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no key")
        return bytes(health_pb2.HealthCheckResponse(status=1).SerializeToString())

    server = grpc.aio.server()
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}  # type: ignore[arg-type]
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),)
    )
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    await probed(Endpoint("riva", target, metadata=(("authorization", "Bearer key"),)))
    with pytest.raises(PeerRefused, match="no key"):
        await probed(Endpoint("riva", target))
    await server.stop(None)


async def test_prometheus_is_told_of_each_dependency() -> None:
    await readiness(probes={"riva": fails, "nova": works})
    told = {
        sample.labels["dependency"]: sample.value
        for sample in next(iter(health.DEPENDENCY_UP.collect())).samples
    }
    assert (told["riva"], told["nova"]) == (0, 1)
