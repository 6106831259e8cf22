"""Channels to a peer: what is refused before gRPC sees it, and what its failures are called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.channels import MAX_MESSAGE, OPTIONS, Endpoint, explain, open_channel, peer_error, status_of
from shared.errors import (
    AudioError,
    InputError,
    Overloaded,
    PeerCertificate,
    PeerError,
    PeerProtocol,
    PeerRefused,
    PeerTimeout,
    PeerUnavailable,
    SettingsError,
    StartupError,
    Unauthorized,
    UnknownModel,
    VoxloopError,
)
from shared.process import free_port
from tests.shared.peers import Pki, grpc_server, talking_server, tcp_server

CALL = "/grpc.health.v1.Health/Check"
DEADLINE_S = 10.0


async def ask(endpoint: Endpoint, timeout_s: float = DEADLINE_S, request: bytes = b"") -> bytes:
    """One call of the health service, as bytes; raises the PeerError that explains its failure."""
    async with open_channel(endpoint) as channel:
        call = channel.unary_unary(CALL)
        try:
            answer: bytes = await call(request, timeout=timeout_s, metadata=endpoint.metadata)
        except grpc.aio.AioRpcError as error:
            raise await explain(endpoint, error) from None
        return answer


def riva(port: int, pki: Pki | None = None, host: str = "127.0.0.1", **options: object) -> Endpoint:
    tls = {"use_tls": True, "ca": pki.ca} if pki else {}
    return Endpoint("riva", f"{host}:{port}", **(tls | options))  # type: ignore[arg-type]


Method = Callable[[bytes, grpc.aio.ServicerContext[bytes, bytes]], Awaitable[bytes]]


@asynccontextmanager
async def serving(method: Method) -> AsyncIterator[int]:
    """A peer whose one method is `method`, under the name that `ask` calls."""
    server = grpc.aio.server(options=(("grpc.max_receive_message_length", -1),))
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(method)}  # type: ignore[arg-type]
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


# Addresses


@pytest.mark.parametrize(
    ("target", "host", "port"),
    [
        ("127.0.0.1:50051", "127.0.0.1", 50051),
        ("localhost:1", "localhost", 1),
        ("riva.example.org:65535", "riva.example.org", 65535),
        ("triton_0:8001", "triton_0", 8001),
        ("[::1]:50051", "::1", 50051),
        ("[fe80::1%eth0]:50051", "fe80::1%eth0", 50051),
    ],
)
def test_an_address_is_host_and_port(target: str, host: str, port: int) -> None:
    assert Endpoint("riva", target).host_port == (host, port)


BAD = [
    "",
    ":",
    "host",
    "host:",
    ":1",
    "host:0",
    "host:65536",
    "host:-1",
    "host:1 ",
    " host:1",
    "ho st:1",
    "host:1:2",
]
BAD += [
    "http://host:8001",
    "host:8001/",
    "dns:///host:1",
    "unix:/tmp/socket",
    "::1:50051",
    "[::1:50051",
    "[]:1",
]
BAD += ["host:²", "host:١", "host:1\n", "host:1_0", "host:0x10", "[host]:1"]


@pytest.mark.parametrize("target", BAD)
async def test_a_malformed_address_is_refused_before_grpc_waits_on_it(target: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_channel(Endpoint("riva", target))
    assert f"the address of riva must be host:port, not {target!r}." in str(caught.value)
    assert "[::1]:50051" in caught.value.hint


@given(
    st.text(st.characters(codec="utf-8"), max_size=30) | st.from_regex(r"[a-z\[\]:.0-9 /]{0,20}:[0-9]{0,6}")
)
def test_any_text_is_an_address_or_a_settings_error(target: str) -> None:
    endpoint = Endpoint("riva", target)
    try:
        host, port = endpoint.host_port
    except SettingsError:
        return
    assert target in (f"{host}:{port}", f"[{host}]:{port}") or target.endswith(f"0{port}")
    assert host
    assert 0 < port < 65536


# Credentials


@pytest.mark.parametrize("missing", ["client_key", "client_cert"])
async def test_half_a_client_certificate_is_refused_for_grpc_would_end_the_process(
    pki: Pki, missing: str
) -> None:
    files = {name: path for name, path in pki.client("known").items() if name != missing}
    with pytest.raises(SettingsError, match="riva needs both a client certificate and its key"):
        open_channel(riva(1, pki, **files))


@pytest.mark.parametrize("name", ["ca", "client_cert", "client_key"])
async def test_a_tls_file_that_cannot_be_read_is_named(pki: Pki, tmp_path: Path, name: str) -> None:
    files: dict[str, object] = {**pki.client("known"), name: tmp_path / "none.pem"}
    with pytest.raises(
        SettingsError, match=rf"the TLS file {tmp_path}/none.pem for riva cannot be read \(No such"
    ):
        open_channel(riva(1, pki, **files))


@pytest.mark.parametrize("value", ["hunter2\n", "hunter2-ä", "hunter2\0", "hunter2\x7f", "hunter2\udcff"])
async def test_metadata_that_no_header_can_carry_is_refused_and_not_shown(value: str) -> None:
    endpoint = riva(1, metadata=(("authorization", value),))
    with pytest.raises(
        SettingsError, match="the metadata 'authorization' for riva holds what no header can"
    ) as caught:
        open_channel(endpoint)
    assert "hunter2" not in str(caught.value)


async def test_a_metadata_key_is_lower_case() -> None:
    with pytest.raises(SettingsError, match="the metadata 'Authorization' for riva"):
        open_channel(riva(1, metadata=(("Authorization", "x"),)))


def test_credentials_do_not_show() -> None:
    assert "hunter2" not in repr(riva(1, metadata=(("authorization", "Bearer hunter2"),)))


async def test_metadata_reaches_the_peer() -> None:
    async def tell(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return str(dict(context.invocation_metadata() or ())["authorization"]).encode()

    async with serving(tell) as port:
        assert await ask(riva(port, metadata=(("authorization", "Bearer hunter2"),))) == b"Bearer hunter2"


# Connections


async def test_a_peer_over_tls_answers(pki: Pki) -> None:
    async with grpc_server(pki.certificate()) as port:
        assert await ask(riva(port, pki))
        assert await ask(riva(port, pki, host="localhost"))


async def test_a_peer_over_ipv6_answers(pki: Pki) -> None:
    async with grpc_server(pki.certificate(), host="[::1]") as port:
        assert await ask(riva(port, pki, host="[::1]"))


async def test_a_peer_that_wants_to_know_its_clients_answers_those_that_it_knows(pki: Pki) -> None:
    async with grpc_server(pki.certificate(), clients=pki.trusted) as port:
        assert await ask(riva(port, pki, **pki.client("known")))


async def test_a_long_recording_passes() -> None:
    async def echo(request: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return request

    async with serving(echo) as port:
        minute = bytes(60 * 44100 * 2)
        assert await ask(riva(port), request=minute) == minute
        with pytest.raises(PeerError):
            await ask(riva(port), request=bytes(MAX_MESSAGE + 1))


def far_away(port: int, latency_s: float) -> AbstractAsyncContextManager[int]:
    """A way to 127.0.0.1:port on which everything takes this much longer, in one direction."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
        while data := await reader.read(65536):
            await asyncio.sleep(delay_s)  # the fault itself
            writer.write(data)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(pump(reader, back, latency_s))
                pumps.create_task(pump(there, writer, 0))
        except* ConnectionError:
            pass
        finally:
            back.transport.abort()

    return tcp_server(connect)


async def test_a_peer_far_away_is_given_the_time_to_connect(pki: Pki) -> None:
    async with grpc_server(pki.certificate()) as port, far_away(port, 0.6) as far:
        assert await ask(riva(far, pki))


def test_a_quiet_stream_is_not_pinged_to_its_death() -> None:
    """At 20 s a server with gRPC's defaults ended it after 220 s: too_many_pings. It allows one in 300 s."""
    assert dict(OPTIONS)["grpc.keepalive_time_ms"] > 300_000


async def test_a_peer_that_comes_back_is_found_again(pki: Pki) -> None:
    async def answer(_: bytes, __: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return b"here"

    port = free_port()
    async with open_channel(riva(port)) as channel:
        call = channel.unary_unary(CALL)
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"", timeout=DEADLINE_S)
            server = grpc.aio.server()
            handlers = {"Check": grpc.unary_unary_rpc_method_handler(answer)}  # type: ignore[arg-type]
            generic = grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers)
            server.add_generic_rpc_handlers((generic,))
            assert server.add_insecure_port(f"127.0.0.1:{port}") == port
            await server.start()
            assert await call(b"", timeout=DEADLINE_S, wait_for_ready=True) == b"here"
            await server.stop(None)


# What a failure is called


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("expired", "its certificate has expired"),
        ("foreign", "its certificate is not signed by the CA in"),
        ("for another host", "its certificate is for another host than 127.0.0.1"),
    ],
)
async def test_a_certificate_fault_is_named_and_not_retryable(pki: Pki, fault: str, told: str) -> None:
    async with grpc_server(pki.certificate(fault)) as port:
        with pytest.raises(PeerCertificate) as caught:
            await ask(riva(port, pki))
    assert caught.value.message.startswith(f"riva: at 127.0.0.1:{port} {told}")
    assert "Check the address, the CA and the client certificate" in caught.value.hint
    assert not caught.value.retryable


async def test_a_peer_without_tls_is_named(pki: Pki) -> None:
    async with grpc_server(None) as port:
        with pytest.raises(PeerCertificate, match="does not speak TLS"):
            await ask(riva(port, pki))


async def test_a_peer_that_wants_another_client_certificate_is_named(pki: Pki) -> None:
    async with grpc_server(pki.certificate(), clients=pki.trusted) as port:
        for client in ({}, pki.client("stranger")):
            with pytest.raises(PeerCertificate, match="it may want another client certificate"):
                await ask(riva(port, pki, **client))


async def test_garbage_for_a_ca_is_named(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("garbage")
    async with grpc_server(pki.certificate()) as port:
        with pytest.raises(PeerCertificate, match=rf"the CA file {tmp_path}/ca.pem cannot be read"):
            await ask(riva(port, pki, ca=tmp_path / "ca.pem"))


@pytest.mark.parametrize("over_tls", [True, False])
async def test_nobody_there_is_unavailable_and_retryable(pki: Pki, over_tls: bool) -> None:
    with pytest.raises(PeerUnavailable, match="Connection refused") as caught:
        await ask(riva(free_port(), pki if over_tls else None))
    assert caught.value.retryable


@pytest.mark.parametrize("over_tls", [True, False])
async def test_a_peer_that_says_nothing_is_a_timeout_and_retryable(pki: Pki, over_tls: bool) -> None:
    async with talking_server(None) as port:
        with pytest.raises(PeerTimeout) as caught:
            await ask(riva(port, pki if over_tls else None), timeout_s=0.3)
    assert caught.value.retryable


async def test_a_peer_that_hangs_up_is_unavailable(pki: Pki) -> None:
    async with talking_server(b"") as port:
        with pytest.raises(PeerUnavailable):
            await ask(riva(port, pki))


MEANING = {
    grpc.StatusCode.UNAVAILABLE: PeerUnavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: PeerUnavailable,
    grpc.StatusCode.ABORTED: PeerUnavailable,
    grpc.StatusCode.CANCELLED: PeerUnavailable,
    grpc.StatusCode.INTERNAL: PeerUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: PeerTimeout,
    grpc.StatusCode.UNKNOWN: PeerProtocol,
    grpc.StatusCode.UNIMPLEMENTED: PeerProtocol,
    grpc.StatusCode.DATA_LOSS: PeerProtocol,
    grpc.StatusCode.INVALID_ARGUMENT: PeerRefused,
    grpc.StatusCode.NOT_FOUND: PeerRefused,
    grpc.StatusCode.ALREADY_EXISTS: PeerRefused,
    grpc.StatusCode.PERMISSION_DENIED: PeerRefused,
    grpc.StatusCode.UNAUTHENTICATED: PeerRefused,
    grpc.StatusCode.FAILED_PRECONDITION: PeerRefused,
    grpc.StatusCode.OUT_OF_RANGE: PeerRefused,
}


def test_every_status_means_something() -> None:
    assert set(MEANING) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


async def refused(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    """What our side gets of an abort, over the wire."""

    async def refuse(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        await context.abort(code, details)

    async with serving(refuse) as port, open_channel(riva(port)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(CALL)(b"", timeout=DEADLINE_S)
    return caught.value


@pytest.mark.parametrize("code", MEANING, ids=lambda code: code.name)
async def test_a_status_is_told_with_the_words_of_the_peer(code: grpc.StatusCode) -> None:
    error = peer_error("riva", await refused(code, "nicht so, ☹"))
    assert type(error) is MEANING[code]
    assert str(error) == f"riva: {code.name.lower().replace('_', ' ')}: nicht so, ☹"


async def test_a_status_without_words_is_told_too() -> None:
    assert str(peer_error("riva", await refused(grpc.StatusCode.ABORTED, ""))) == "riva: aborted: no details"


# Our own errors, on their way to the next service

OURS: list[tuple[VoxloopError, grpc.StatusCode]] = [
    (InputError("x"), grpc.StatusCode.INVALID_ARGUMENT),
    (AudioError("x"), grpc.StatusCode.INVALID_ARGUMENT),
    (UnknownModel("x"), grpc.StatusCode.INVALID_ARGUMENT),
    (Unauthorized("x"), grpc.StatusCode.UNAUTHENTICATED),
    (Overloaded("x"), grpc.StatusCode.RESOURCE_EXHAUSTED),
    (PeerTimeout("riva", "x"), grpc.StatusCode.DEADLINE_EXCEEDED),
    (PeerUnavailable("riva", "x"), grpc.StatusCode.UNAVAILABLE),
    (PeerRefused("riva", "x"), grpc.StatusCode.FAILED_PRECONDITION),
    (PeerProtocol("riva", "x"), grpc.StatusCode.FAILED_PRECONDITION),
    (PeerCertificate("riva", "x"), grpc.StatusCode.FAILED_PRECONDITION),
    (VoxloopError("x"), grpc.StatusCode.INTERNAL),
    (StartupError("x"), grpc.StatusCode.INTERNAL),
]


@pytest.mark.parametrize(("error", "code"), OURS, ids=lambda value: getattr(value, "code", None))
async def test_an_error_of_ours_keeps_its_meaning_over_the_wire(
    error: VoxloopError, code: grpc.StatusCode
) -> None:
    assert status_of(error) is code
    there = peer_error("nova", await refused(code, str(error)))
    if code is not grpc.StatusCode.INTERNAL:  # other servers answer this one for what passes, too
        assert there.retryable == error.retryable
