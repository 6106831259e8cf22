"""JSON Web Tokens: who signed one, and whether it is still good.

Each key goes with the one algorithm that it is for, so no token can choose how it is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import SecretStr

from shared.errors import SettingsError

MIN_RSA_BITS = 2048
MAX_CHARS = 8192
"""A token that is longer is not even looked at."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that tokens may be signed with, and the only algorithm that it is good for."""

    algorithm: str
    key: Any

    @classmethod
    def by_secret(cls, secret: SecretStr) -> Signer:
        return cls("HS256", secret.get_secret_value())

    @classmethod
    def by_public_key(cls, path: Path) -> Signer:
        """RS256 or EdDSA, by the kind of key in this PEM file. Raises SettingsError."""
        try:
            key = load_pem_public_key(path.read_bytes())
        except OSError as error:
            raise SettingsError(f"JWT_PUBLIC_KEY: {path} cannot be read ({error.strerror})") from None
        except (ValueError, UnsupportedAlgorithm):
            raise SettingsError(f"JWT_PUBLIC_KEY: {path} holds no public key in PEM") from None
        if isinstance(key, Ed25519PublicKey):
            return cls("EdDSA", key)
        if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
            return cls("RS256", key)
        raise SettingsError(f"JWT_PUBLIC_KEY: {path} must be Ed25519, or RSA of at least {MIN_RSA_BITS} bits")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Which tokens count: signed by one of these, with an `exp`, and for `audience` where it is set."""

    signers: tuple[Signer, ...] = ()
    audience: str = ""

    def accept(self, token: str) -> float:
        """Until when this one is good, in Unix time; 0 where it does not count."""
        if len(token) > MAX_CHARS:
            return 0.0
        return max((self._signed_by(signer, token) for signer in self.signers), default=0.0)

    def _signed_by(self, signer: Signer, token: str) -> float:
        try:
            claims = jwt.decode(
                token,
                signer.key,
                algorithms=[signer.algorithm],
                audience=self.audience or None,
                options={
                    "require": ["exp", "aud"] if self.audience else ["exp"],
                    "verify_aud": bool(self.audience),
                },
            )
            return float(claims["exp"])
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError):
            return 0.0
