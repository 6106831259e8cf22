"""Settings of the face server, from VOXLOOP_FACE_… variables. The limits are Audio2Face-3D's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.settings import Port, Seconds, is_loopback


class FaceSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="VOXLOOP_FACE_", extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: Port = 52000
    metrics_port: Port | None = None
    """Where Prometheus may ask how many streams run and how they ended; nobody is answered by default."""
    log_level: str = "info"
    allow_anonymous: bool = False
    """Serve a non-loopback address openly. Audio2Face knows no keys; `tls_client_ca` shuts others out."""

    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    """With it, clients must show a certificate that this CA signed."""

    max_streams: Annotated[int, Field(gt=0)] = 10
    max_buffer_s: Seconds = 10.0
    max_clip_s: Seconds = 300.0
    idle_timeout_s: Seconds = 30.0
    """A client that sends nothing for this long is cut off."""
    write_timeout_s: Seconds = 7.0
    """A client that takes no frame for this long is cut off."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not is_loopback(self.host) and not (self.allow_anonymous or self.tls_client_ca):
            raise ValueError(
                f"host {self.host} is reachable from other machines; set VOXLOOP_FACE_TLS_CLIENT_CA, "
                "or VOXLOOP_FACE_ALLOW_ANONYMOUS=1 if that is meant"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("VOXLOOP_FACE_TLS_CERT and VOXLOOP_FACE_TLS_KEY are set together or not at all")
        if self.tls_client_ca and not self.tls_cert:
            raise ValueError("VOXLOOP_FACE_TLS_CLIENT_CA needs VOXLOOP_FACE_TLS_CERT and …_KEY")
        return self
