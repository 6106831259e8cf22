"""Settings of the embedded speech server: environment variables with the prefix VOXLOOP_SPEECH_."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.settings import Port, Seconds, is_loopback

ROOT = Path(__file__).resolve().parent.parent.parent
ENV_PREFIX = "VOXLOOP_SPEECH_"


class SpeechSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: Port = 50051
    tls: Path = ROOT / ".voxloop" / "tls"
    """Folder of ca.pem, server.pem and server.key; made when missing. There is no plaintext port."""
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    """Recognition processes. Each serves one utterance at a time, none while everybody is silent."""
    slot_wait_s: Seconds = 30.0
    """How long an utterance may wait for a free worker before its stream ends with RESOURCE_EXHAUSTED."""
    max_streams: Annotated[int, Field(ge=1)] = 64
    """Open recognition streams; one more is refused with RESOURCE_EXHAUSTED."""
    log_level: str = "info"
    allow_anonymous: bool = False
    """Serve a non-loopback address. Nobody is asked for a key, as with a Riva server of one's own."""

    @model_validator(mode="after")
    def _never_open_by_accident(self) -> Self:
        if not is_loopback(self.host) and not self.allow_anonymous:
            raise ValueError(
                f"host {self.host} is reachable from other machines and this server asks for no key; "
                f"set {ENV_PREFIX}ALLOW_ANONYMOUS=1 if that is meant"
            )
        return self
