"""The private CA of a development machine, and plain words for a TLS handshake that failed."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509

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
    """The CA and server certificate in `folder`, made on the first call and again before they expire."""
    files = CertificateFiles(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    if _still_good(files):
        return files
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA(organization_name="Voxloop development CA")
    server = authority.issue_cert(
        *hosts, not_after=datetime.datetime.now(datetime.UTC) + LIFETIME, organization_name="Voxloop"
    )
    files.key.touch(mode=0o600)
    files.key.chmod(0o600)
    files.key.write_bytes(server.private_key_pem.bytes())
    files.cert.write_bytes(b"".join(part.bytes() for part in server.cert_chain_pems))
    files.ca.write_bytes(authority.cert_pem.bytes())
    return files


def _still_good(files: CertificateFiles) -> bool:
    try:
        leaf = x509.load_pem_x509_certificate(files.cert.read_bytes())
        authority = x509.load_pem_x509_certificate(files.ca.read_bytes())
        leaf.verify_directly_issued_by(authority)
        return (
            files.key.exists()
            and leaf.not_valid_after_utc - datetime.datetime.now(datetime.UTC) > RENEW_BEFORE
        )
    except Exception:  # noqa: BLE001 - whatever is wrong with the files, new ones mend it
        return False


_EXPIRED, _SELF_SIGNED, _NO_ISSUER, _WRONG_HOST = 10, {18, 19}, {2, 20, 21}, {62, 64}  # openssl/x509_vfy.h


async def explain_handshake(host: str, port: int, ca: Path | None, deadline_s: float = 2.0) -> str | None:
    """Why a TLS client that trusts `ca` cannot talk to host:port; None if it can, or nobody is there.

    gRPC reports each of these as the same UNAVAILABLE, so we shake hands once more ourselves.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
    except (OSError, ssl.SSLError) as error:
        return f"the CA file {ca} cannot be read ({error})"
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(deadline_s):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
    except ssl.SSLCertVerificationError as error:
        return _certificate_fault(error, host, ca)
    except ssl.SSLError:
        return "the server there does not speak TLS"
    except (OSError, TimeoutError):
        return None
    return None


def _certificate_fault(error: ssl.SSLCertVerificationError, host: str, ca: Path | None) -> str:
    if error.verify_code == _EXPIRED:
        return "its certificate has expired"
    if error.verify_code in _SELF_SIGNED | _NO_ISSUER:
        return f"its certificate is not signed by the CA in {ca or 'the system store'}"
    if error.verify_code in _WRONG_HOST:
        return f"its certificate is for another host than {host}"
    return f"its certificate is not accepted ({error.verify_message})"
