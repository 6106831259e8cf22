"""What the settings of every service have in common: environment variables, one prefix each.

A secret may also lie in a file: where VOXLOOP_SECRETS names a folder, as containers mount their secrets, a
file there whose name is a variable's (NOVA_API_KEYS) holds its value. The variable itself wins.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.errors import SettingsError

Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 lets the system choose one."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _known_level(level: str) -> str:
    if level.upper() not in logging.getLevelNamesMapping():
        raise ValueError("must be debug, info, warning, error or critical")
    return level


MIN_SECRET_BYTES = 32  # RFC 7518: as long as the hash that it keys

LogLevel = Annotated[str, AfterValidator(_known_level)]

S = TypeVar("S", bound=BaseSettings)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ServiceSettings(BaseSettings):
    """Base of NovaSettings, SophiaSettings, AuroraSettings.

    A variable that is there and empty counts as not there, as compose files pass on what nobody set.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    host: str = "127.0.0.1"
    http_port: Port
    log_level: LogLevel = "info"
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Accepted keys, separated by commas; a client sends one as `Authorization: Bearer …`."""
    jwt_secret: SecretStr | None = None
    """Accept JSON Web Tokens signed with it (HS256) wherever a key is; at least 32 bytes."""
    jwt_public_key: Path | None = None
    """A PEM file: accept tokens signed with its other half, RS256 or EdDSA by the kind of key."""
    jwt_audience: str = ""
    """Where set, the `aud` that a token must have."""
    allow_anonymous: bool = False
    """Serve a non-loopback address without keys. Only for networks that you trust entirely."""

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(key.strip() for key in value.split(",") if key.strip())
        return value

    @field_validator("api_keys")
    @classmethod
    def _sendable(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in keys:
            value = key.get_secret_value()
            if not value or " " in value or not (value.isascii() and value.isprintable()):
                raise ValueError("a key holds printable ASCII and no space, for it travels in a header")
        return keys

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value().encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"must have at least {MIN_SECRET_BYTES} bytes, or somebody may find it")
        return secret

    @property
    def protected(self) -> bool:
        """Whether a caller needs a key or a token."""
        return bool(self.api_keys or self.jwt_secret or self.jwt_public_key)

    @model_validator(mode="after")
    def _never_open_by_accident(self) -> Self:
        if not is_loopback(self.host) and not self.protected and not self.allow_anonymous:
            prefix = self.model_config.get("env_prefix", "")
            raise ValueError(
                f"host {self.host} is reachable from other machines but {prefix}API_KEYS is empty; "
                f"set {prefix}API_KEYS, or {prefix}ALLOW_ANONYMOUS=1 if that is meant"
            )
        return self


def load(settings: type[S]) -> S:
    """Read the environment; a bad value becomes a SettingsError that names the variable."""
    secrets = os.environ.get("VOXLOOP_SECRETS")
    try:
        return settings(_secrets_dir=secrets if secrets and Path(secrets).is_dir() else None)
    except ValidationError as error:
        prefix = settings.model_config.get("env_prefix", "")
        problems = []
        for item in error.errors(include_input=False, include_url=False):  # the input may be a secret
            variable = "_".join(map(str, item["loc"])).upper()
            what = item["msg"].removeprefix("Value error, ")
            problems.append(f"{prefix}{variable}: {what}" if variable else what)
        raise SettingsError(f"bad settings: {'; '.join(problems)}") from None
