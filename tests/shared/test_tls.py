"""The development CA, and what is said of a handshake that fails."""

from __future__ import annotations

import asyncio
import datetime
import os
import shutil
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from cryptography import x509

from shared.errors import StartupError
from shared.process import free_port
from shared.tls import CertificateFiles, ensure_certificates, explain_handshake
from tests.shared.peers import DAY, Pki, grpc_server, talking_server


def contents(files: CertificateFiles) -> tuple[bytes, ...]:
    return files.ca.read_bytes(), files.cert.read_bytes(), files.key.read_bytes()


def leaf_of(files: CertificateFiles) -> x509.Certificate:
    return x509.load_pem_x509_certificate(files.cert.read_bytes())


def shake_hands(files: CertificateFiles, host: str) -> None:
    """A real handshake in memory between a server with `files` and a client that trusts their CA."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.cert, files.key)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = ssl.create_default_context(cafile=files.ca).wrap_bio(down, up, server_hostname=host)
    server_side = server.wrap_bio(up, down, server_side=True)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for side in (client_side, server_side):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass


# The files


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_the_files_serve_this_machine_by_each_of_its_names(tmp_path: Path, host: str) -> None:
    shake_hands(ensure_certificates(tmp_path / "deep" / "tls"), host)


def test_only_those_hosts_are_in_the_certificate(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(ensure_certificates(tmp_path), "example.org")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_but_its_owner_reads_the_key(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        files = ensure_certificates(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600


def test_a_key_that_anybody_could_read_is_replaced_and_not_written_over(tmp_path: Path) -> None:
    files = ensure_certificates(tmp_path)
    files.key.write_text("garbage")
    files.key.chmod(0o644)
    with files.key.open() as opened_by_somebody:
        ensure_certificates(tmp_path)
        assert opened_by_somebody.read() == "garbage"
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600


def test_the_authority_cannot_sign_again_for_nobody_has_its_key(tmp_path: Path) -> None:
    files = ensure_certificates(tmp_path)
    keys = [path for path in tmp_path.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert keys == [files.key]
    assert files.key.read_bytes().count(b"PRIVATE KEY") == 2, "one key, its begin and its end"


def test_the_certificate_lives_for_a_year_and_its_authority_longer(tmp_path: Path) -> None:
    files = ensure_certificates(tmp_path)
    leaf, authority = leaf_of(files), x509.load_pem_x509_certificate(files.ca.read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    assert leaf.not_valid_before_utc < now - DAY / 2, "a client's clock may be behind"
    assert datetime.timedelta(360) < leaf.not_valid_after_utc - now <= datetime.timedelta(365)
    # Some clients refuse what is valid for more than 825 days, whoever signed it.
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < datetime.timedelta(825)
    assert authority.not_valid_after_utc > leaf.not_valid_after_utc + datetime.timedelta(365)


def test_good_files_are_left_alone(tmp_path: Path) -> None:
    files = ensure_certificates(tmp_path)
    before = contents(files), tmp_path.stat().st_mtime_ns
    assert ensure_certificates(tmp_path) == files
    assert ensure_certificates(tmp_path, ("127.0.0.1", "LOCALHOST", "0:0:0:0:0:0:0:1")) == files
    assert (contents(files), tmp_path.stat().st_mtime_ns) == before


def issued(files: CertificateFiles, **options: Any) -> None:
    """A pair of our own making, with its CA."""
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1", "::1", **options)
    authority.cert_pem.write_to_path(str(files.ca))
    leaf.private_key_pem.write_to_path(str(files.key))
    leaf.cert_chain_pems[0].write_to_path(str(files.cert))


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


SPOILT: dict[str, Callable[[CertificateFiles], object]] = {
    "no CA": lambda files: files.ca.unlink(),
    "no certificate": lambda files: files.cert.unlink(),
    "no key": lambda files: files.key.unlink(),
    "garbage for a CA": lambda files: files.ca.write_bytes(b"\xff\xfe"),
    "garbage for a certificate": lambda files: files.cert.write_text("garbage"),
    "garbage for a key": lambda files: files.key.write_text("garbage"),
    "an empty key": lambda files: files.key.write_bytes(b""),
    "half a certificate": lambda files: files.cert.write_bytes(files.cert.read_bytes()[:200]),
    "a foreign CA": lambda files: trustme.CA().cert_pem.write_to_path(str(files.ca)),
    "the key of another certificate": lambda files: (
        trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(str(files.key))
    ),
    "expired": lambda files: issued(files, not_after=now() - DAY),
    "about to expire": lambda files: issued(files, not_after=now() + 13 * DAY),
    "not yet valid": lambda files: issued(files, not_before=now() + DAY),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_files_that_would_not_serve_are_made_anew(tmp_path: Path, fault: str) -> None:
    files = ensure_certificates(tmp_path)
    SPOILT[fault](files)
    spoilt = files.cert.read_bytes() if files.cert.exists() else b""
    shake_hands(ensure_certificates(tmp_path), "localhost")
    mended = contents(files)
    assert files.cert.read_bytes() != spoilt
    assert contents(ensure_certificates(tmp_path)) == mended, "once is enough"


def test_a_host_that_the_certificate_does_not_name_has_it_made_anew(tmp_path: Path) -> None:
    ensure_certificates(tmp_path)
    hosts = ("localhost", "voxloop.example", "10.1.2.3")
    files = ensure_certificates(tmp_path, hosts)
    for host in hosts:
        shake_hands(files, host)
    before = contents(files)
    assert contents(ensure_certificates(tmp_path, hosts)) == before


def test_what_a_process_left_that_died_while_it_made_them_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".server.key.new").write_text("half a k")
    (tmp_path / ".lock").touch()
    shake_hands(ensure_certificates(tmp_path), "localhost")
    assert not (tmp_path / ".server.key.new").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match=f"no certificates can be written to {tmp_path / 'file' / 'tls'}"):
        ensure_certificates(tmp_path / "file" / "tls")


ONE_OF_MANY = """
import sys
from pathlib import Path
from shared.tls import ensure_certificates
print("ready", flush=True)
sys.stdin.readline()
files = ensure_certificates(Path(sys.argv[1]))
print([path.read_text() for path in (files.ca, files.cert, files.key)])
"""


@pytest.mark.parametrize("before", ["nothing", "garbage"])
def test_processes_that_start_at_once_get_the_same_files(tmp_path: Path, before: str) -> None:
    if before == "garbage":
        ensure_certificates(tmp_path).key.write_text("garbage")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_OF_MANY, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    read = {process.communicate(timeout=60)[0] for process in processes}
    assert all(process.returncode == 0 for process in processes)
    assert len(read) == 1
    shake_hands(ensure_certificates(tmp_path), "localhost")


# The handshake


@pytest.fixture(params=["asyncio", "uvloop"])
def why(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """explain_handshake on either event loop, in a thread: the servers live on this one."""

    async def explained(*args: Any, **options: Any) -> str | None:
        factory = uvloop.new_event_loop if request.param == "uvloop" else None

        def run() -> str | None:
            with asyncio.Runner(loop_factory=factory) as runner:
                return runner.run(explain_handshake(*args, **options))

        return await asyncio.to_thread(run)

    return explained


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_nothing_is_said_of_a_handshake_that_works(
    why: Callable[..., Any], pki: Pki, host: str
) -> None:
    async with grpc_server(pki.certificate()) as port:
        assert await why(host, port, pki.ca) is None


async def test_nothing_is_said_of_one_that_works_over_ipv6(why: Callable[..., Any], pki: Pki) -> None:
    async with grpc_server(pki.certificate(), host="[::1]") as port:
        assert await why("::1", port, pki.ca) is None


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("expired", "its certificate has expired"),
        ("not yet valid", "its certificate is not accepted (certificate is not yet valid)"),
        ("foreign", "its certificate is not signed by the CA in {ca}"),
        ("for another host", "its certificate is for another host than 127.0.0.1"),
    ],
)
async def test_a_certificate_that_is_not_accepted_is_said_why(
    why: Callable[..., Any], pki: Pki, fault: str, told: str
) -> None:
    async with grpc_server(pki.certificate(fault)) as port:
        assert await why("127.0.0.1", port, pki.ca) == told.format(ca=pki.ca)


async def test_without_a_ca_the_one_of_the_system_is_meant(why: Callable[..., Any], pki: Pki) -> None:
    async with grpc_server(pki.certificate()) as port:
        assert (
            await why("127.0.0.1", port, None)
            == "its certificate is not signed by the CA in the system store"
        )


async def test_a_server_without_tls_is_said_to_have_none(why: Callable[..., Any], pki: Pki) -> None:
    async with AsyncExitStack() as servers:
        for server in (grpc_server(None), talking_server(b"HTTP/1.1 400 Bad Request\r\n\r\n")):
            port = await servers.enter_async_context(server)
            assert await why("127.0.0.1", port, pki.ca) == "the server there does not speak TLS"


@pytest.mark.parametrize("client", [None, "stranger"])
async def test_a_server_that_wants_to_know_its_clients_is_said_to(
    why: Callable[..., Any], pki: Pki, client: str | None
) -> None:
    async with grpc_server(pki.certificate(), clients=pki.trusted) as port:
        told = await why("127.0.0.1", port, pki.ca, **(pki.client(client) if client else {}))
        assert "may want another client certificate" in told
        assert await why("127.0.0.1", port, pki.ca, **pki.client("known")) is None


async def test_an_alert_of_the_server_is_repeated(why: Callable[..., Any], pki: Pki) -> None:
    async with talking_server(
        b"\x15\x03\x03\x00\x02\x02\x28"
    ) as port:  # RFC 8446, 6: fatal, handshake_failure
        told = await why("127.0.0.1", port, pki.ca)
        assert told.startswith("the server there refuses the handshake (")
        assert "HANDSHAKE_FAILURE" in told


async def test_what_is_no_fault_of_tls_is_left_to_grpc(why: Callable[..., Any], pki: Pki) -> None:
    assert await why("127.0.0.1", free_port(), pki.ca) is None, "nobody there"
    async with talking_server(b"") as port:
        assert await why("127.0.0.1", port, pki.ca) is None, "hangs up"
    async with talking_server(None) as port:
        assert await why("127.0.0.1", port, pki.ca, 0.2) is None, "silent"
    assert await why("a" * 70 + ".invalid", 443, pki.ca) is None, "a name that no host can have"


@pytest.mark.parametrize(("path", "why_not"), [("none.pem", "No such file"), (".", "Is a directory")])
async def test_a_ca_file_that_cannot_be_read_is_named(
    why: Callable[..., Any], tmp_path: Path, path: str, why_not: str
) -> None:
    told = await why("127.0.0.1", 1, tmp_path / path)
    assert told.startswith(f"the CA file {tmp_path / path} cannot be read ({why_not}")


async def test_a_ca_file_without_a_certificate_is_named(why: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("garbage")
    assert f"the CA file {tmp_path / 'ca.pem'} cannot be read" in await why(
        "127.0.0.1", 1, tmp_path / "ca.pem"
    )


async def test_a_client_certificate_that_does_not_fit_its_key_is_named(
    why: Callable[..., Any], pki: Pki, tmp_path: Path
) -> None:
    shutil.copy(pki.client("known")["client_cert"], tmp_path / "a.pem")
    shutil.copy(pki.client("stranger")["client_key"], tmp_path / "a.key")
    told = await why("127.0.0.1", 1, pki.ca, client_cert=tmp_path / "a.pem", client_key=tmp_path / "a.key")
    assert told.startswith(f"the client certificate {tmp_path / 'a.pem'} and its key cannot be used")


def test_a_container_makes_them_for_the_names_of_its_engines(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shared.tls", str(tmp_path), "riva", "audio2face"]
    subprocess.run(command, check=True, capture_output=True)
    hosts = ("riva", "audio2face", "localhost", "127.0.0.1")
    made = (tmp_path / "server.pem").read_bytes()
    ensure_certificates(tmp_path, hosts)
    assert (tmp_path / "server.pem").read_bytes() == made, "they are good for all of these already"
