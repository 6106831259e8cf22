"""Certificates with every fault, and servers that show them, for the tests of TLS."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import trustme
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

DAY = datetime.timedelta(days=1)
HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Pki:
    """An authority that our side trusts, one that it does not, and the files that a client is given."""

    folder: Path
    trusted: trustme.CA
    foreign: trustme.CA

    @classmethod
    def make(cls, folder: Path) -> Pki:
        made = cls(folder, trustme.CA(), trustme.CA())
        made.trusted.cert_pem.write_to_path(str(made.ca))
        for name, authority in (("known", made.trusted), ("stranger", made.foreign)):
            certificate = authority.issue_cert(f"{name}.client")
            certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
            certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
        return made

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def client(self, name: str) -> dict[str, Path]:
        """The files of a client that the servers here know, or of a stranger."""
        return {"client_cert": self.folder / f"{name}.pem", "client_key": self.folder / f"{name}.key"}

    def certificate(self, fault: str = "") -> trustme.LeafCert:
        now = datetime.datetime.now(datetime.UTC)
        match fault:
            case "expired":
                return self.trusted.issue_cert(*HOSTS, not_after=now - DAY)
            case "not yet valid":
                return self.trusted.issue_cert(*HOSTS, not_before=now + DAY)
            case "foreign":
                return self.foreign.issue_cert(*HOSTS)
            case "for another host":
                return self.trusted.issue_cert("example.org")
        return self.trusted.issue_cert(*HOSTS)


@asynccontextmanager
async def grpc_server(
    certificate: trustme.LeafCert | None, clients: trustme.CA | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """A health service that is serving: over TLS with a certificate, and only for certain clients."""
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    if certificate is None:
        port = server.add_insecure_port(f"{host}:0")
    else:
        chain = b"".join(part.bytes() for part in certificate.cert_chain_pems)
        credentials = grpc.ssl_server_credentials(
            [(certificate.private_key_pem.bytes(), chain)],
            clients.cert_pem.bytes() if clients else None,
            require_client_auth=clients is not None,
        )
        port = server.add_secure_port(f"{host}:0", credentials)
    await server.start()
    yield port
    await server.stop(None)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def tcp_server(handle: Handler) -> AsyncIterator[int]:
    """`handle` for each connection, until the test is over with it."""
    connections: set[asyncio.Task[None]] = set()

    async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await handle(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(tracked, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for task in connections:
        task.cancel()
    await asyncio.gather(*connections, return_exceptions=True)
    await server.wait_closed()


def talking_server(greeting: bytes | None) -> AbstractAsyncContextManager[int]:
    """Says `greeting` to whoever speaks to it and hangs up; with None it says nothing and stays."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if greeting is None:
            await asyncio.Event().wait()
        else:
            await reader.read(1)
            writer.write(greeting)

    return tcp_server(talk)
