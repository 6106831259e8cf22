"""The private CA of a development machine, and plain words for a TLS handshake that failed."""

from __future__ import annotations

import asyncio
import datetime
import fcntl
import ipaddress
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from shared.errors import StartupError

LIFETIME = datetime.timedelta(days=365)
RENEW_BEFORE = datetime.timedelta(days=14)


@dataclass(frozen=True)
class CertificateFiles:
    """PEM files: the CA that clients trust, the server's chain and its private key."""

    ca: Path
    cert: Path
    key: Path


def ensure_certificates(
    folder: Path, hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
) -> CertificateFiles:
    """The CA and server certificate in `folder`, made on the first call and again before they expire.

    Processes may call it at once: one makes the files, the others wait and take those. The CA's own key
    is forgotten, so nobody can ever sign with it again; new certificates come with a new CA. Raises
    StartupError where `folder` cannot be written.
    """
    files = CertificateFiles(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    if _still_good(files, hosts):  # without the lock, which a folder that is read-only does not give
        return files
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _still_good(files, hosts):
                _make(files, hosts)
    except OSError as error:
        raise StartupError(
            f"no certificates can be written to {folder} ({error.strerror}).", hint="Make it writable."
        ) from None
    return files


def _make(files: CertificateFiles, hosts: tuple[str, ...]) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority = trustme.CA(organization_name="Voxloop development CA")
    server = authority.issue_cert(
        *hosts,
        not_before=now - datetime.timedelta(days=1),  # for clients whose clock is behind
        not_after=now + LIFETIME,
        organization_name="Voxloop",
    )
    _write(files.key, server.private_key_pem.bytes(), 0o600)
    _write(files.cert, b"".join(part.bytes() for part in server.cert_chain_pems), 0o644)
    _write(files.ca, authority.cert_pem.bytes(), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by more than `mode` says, not even for a moment."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)  # of a process that ended here
    fresh.touch(mode, exist_ok=False)
    fresh.write_bytes(content)
    fresh.replace(path)


def _still_good(files: CertificateFiles, hosts: tuple[str, ...]) -> bool:
    try:
        leaf = x509.load_pem_x509_certificate(files.cert.read_bytes())
        authority = x509.load_pem_x509_certificate(files.ca.read_bytes())
        leaf.verify_directly_issued_by(authority)
        key = load_pem_private_key(files.key.read_bytes(), password=None)
        now = datetime.datetime.now(datetime.UTC)
        return (
            key.public_key() == leaf.public_key()
            and leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc - RENEW_BEFORE
            and {_canonical(host) for host in hosts} <= _hosts_of(leaf)
        )
    except Exception:  # noqa: BLE001 - whatever is wrong with the files, new ones mend it
        return False


def _hosts_of(leaf: x509.Certificate) -> set[str]:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return {*names.get_values_for_type(x509.DNSName), *(str(address) for address in addresses)}


def _canonical(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower()


_EXPIRED, _SELF_SIGNED, _NO_ISSUER, _WRONG_HOST = 10, {18, 19}, {2, 20, 21}, {62, 64}  # openssl/x509_vfy.h


async def explain_handshake(
    host: str,
    port: int,
    ca: Path | None,
    deadline_s: float = 2.0,
    *,
    client_cert: Path | None = None,
    client_key: Path | None = None,
) -> str | None:
    """Why a TLS client that trusts `ca` cannot talk to host:port; None if it can, or nobody is there.

    gRPC reports each of these as the same UNAVAILABLE, so we shake hands once more ourselves.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
    except OSError as error:
        return f"the CA file {ca} cannot be read ({error.strerror})"
    try:
        if client_cert:
            context.load_cert_chain(client_cert, client_key)
    except OSError as error:
        return f"the client certificate {client_cert} and its key cannot be used ({error.strerror})"
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(deadline_s):
            spoke = await _spoke(host, port, context)
    except ssl.SSLCertVerificationError as error:
        return _certificate_fault(error, host, ca)
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            return f"the server there refuses the handshake ({error.reason})"
        return "the server there does not speak TLS"
    except (OSError, TimeoutError, UnicodeError):  # the last of a name that no host can have
        return None
    return None if spoke else "the server there ends the connection; it may want another client certificate"


_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How an HTTP/2 client begins: its preface and empty settings (RFC 9113, 3.4)."""


async def _spoke(host: str, port: int, context: ssl.SSLContext) -> bool:
    """Whether the server answers after the handshake, as HTTP/2 must.

    In TLS 1.3 our side is done before the server has looked at our certificate. One that wants a
    certificate, and gets none that it knows, ends the connection then, gRPC's without a word.
    """
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write(_GREETING)
        return await reader.read(1) != b""
    except ConnectionError:
        return False
    finally:
        writer.transport.abort()  # a farewell in good form would wait for gRPC's, which does not come


def _certificate_fault(error: ssl.SSLCertVerificationError, host: str, ca: Path | None) -> str:
    if error.verify_code == _EXPIRED:
        return "its certificate has expired"
    if error.verify_code in _SELF_SIGNED | _NO_ISSUER:
        return f"its certificate is not signed by the CA in {ca or 'the system store'}"
    if error.verify_code in _WRONG_HOST:
        return f"its certificate is for another host than {host}"
    return f"its certificate is not accepted ({error.verify_message})"


def main() -> None:
    """`python -m shared.tls FOLDER HOST…`: make or renew the certificates of a container's engines."""
    folder, *hosts = sys.argv[1:]
    files = ensure_certificates(Path(folder), (*hosts, "localhost", "127.0.0.1", "::1"))
    sys.stdout.write(f"{files.cert} is for {', '.join(hosts)}, localhost; clients trust {files.ca}\n")


if __name__ == "__main__":
    main()
