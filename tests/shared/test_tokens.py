"""JSON Web Tokens: what counts, and that nothing else does."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.errors import SettingsError
from shared.tokens import MAX_CHARS, Signer, Tokens

SECRET = "a secret of at least thirty-two bytes"
BY_SECRET = Tokens((Signer.by_secret(SecretStr(SECRET)),))
RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
FAR = 3600


def token(algorithm: str = "HS256", key: Any = SECRET, *, exp: float | None = FAR, **claims: Any) -> str:
    """Claims of time are seconds from now."""
    now = time.time()
    times = {name: now + claims.pop(name) for name in ("nbf", "iat") if name in claims}
    expiry = {} if exp is None else {"exp": now + exp}
    return jwt.encode({**expiry, **times, **claims}, key, algorithm)


def public(key: Any, path: Path) -> Path:
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def test_a_token_signed_with_the_secret_counts() -> None:
    assert BY_SECRET.accept(token())


def test_it_is_told_until_when() -> None:
    assert BY_SECRET.accept(token(exp=FAR)) == pytest.approx(time.time() + FAR, abs=60)


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(token(exp=-1), id="expired"),
        pytest.param(token(exp=None), id="without an expiry"),
        pytest.param(token(nbf=FAR), id="not yet valid"),
        pytest.param(token(key="another secret of thirty-two bytes"), id="signed by another"),
        pytest.param(token("HS512", SECRET * 2), id="of another algorithm"),
        pytest.param(token("none", None), id="not signed"),
        pytest.param(token() + "x", id="changed"),
        pytest.param(token(junk="x" * MAX_CHARS), id="too long"),
        pytest.param(token(exp=float("inf")), id="of an endless time"),
        pytest.param("", id="nothing"),
    ],
)
def test_any_other_does_not(refused: str) -> None:
    assert not BY_SECRET.accept(refused)


def test_without_a_key_to_check_it_by_no_token_counts() -> None:
    assert not Tokens().accept(token())


@pytest.mark.parametrize(("algorithm", "key"), [("RS256", RSA), ("EdDSA", ED25519)])
def test_a_public_key_stands_for_its_own_algorithm(algorithm: str, key: Any, tmp_path: Path) -> None:
    tokens = Tokens((Signer.by_public_key(public(key, tmp_path / "key.pem")),))
    assert tokens.accept(token(algorithm, key))
    assert not tokens.accept(token(algorithm, key, exp=-1))
    assert not tokens.accept(token())


def test_a_token_cannot_use_a_public_key_as_its_secret(tmp_path: Path) -> None:
    """The old trick: HS256, keyed with what everybody may know."""
    pem = public(RSA, tmp_path / "key.pem")
    body = token().split(".")[1]
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=").decode()
    signer = jwt.get_algorithm_by_name("HS256")
    signature = signer.sign(f"{head}.{body}".encode(), pem.read_bytes())
    forged = f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert not Tokens((Signer.by_public_key(pem),)).accept(forged)


def test_one_of_two_signers_is_enough(tmp_path: Path) -> None:
    tokens = Tokens((*BY_SECRET.signers, Signer.by_public_key(public(ED25519, tmp_path / "key.pem"))))
    assert tokens.accept(token())
    assert tokens.accept(token("EdDSA", ED25519))


def test_the_audience_is_asked_for_where_it_is_set_and_only_there() -> None:
    ours = Tokens(BY_SECRET.signers, audience="voxloop")
    assert ours.accept(token(aud="voxloop"))
    assert ours.accept(token(aud=["voxloop", "another"]))
    assert not ours.accept(token(aud="another"))
    assert not ours.accept(token())
    assert BY_SECRET.accept(token(aud="anybody"))


WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak on purpose


@pytest.mark.parametrize("key", [WEAK, ec.generate_private_key(ec.SECP256R1())])
def test_a_weak_or_foreign_key_is_refused_at_the_start(key: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"JWT_PUBLIC_KEY: .* must be Ed25519, or RSA"):
        Signer.by_public_key(public(key, tmp_path / "key.pem"))


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no key")
    with pytest.raises(SettingsError, match=r"note\.txt holds no public key"):
        Signer.by_public_key(tmp_path / "note.txt")
    with pytest.raises(SettingsError, match="No such file"):
        Signer.by_public_key(tmp_path / "missing.pem")


@given(st.text() | st.binary().map(lambda part: f"{base64.urlsafe_b64encode(part).decode()}.e30.x"))
def test_whatever_comes_is_refused_and_breaks_nothing(value: str) -> None:
    assert not BY_SECRET.accept(value)


def test_a_header_of_a_thousand_brackets_is_refused() -> None:
    head = base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=").decode()
    assert not BY_SECRET.accept(f"{head}.e30.x")
