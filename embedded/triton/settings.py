"""What the embedded Triton reads from the environment: VOXLOOP_TRITON_…"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.settings import Seconds, is_loopback

ROOT = Path(__file__).resolve().parent.parent.parent

FixedPort = Annotated[int, Field(ge=1, le=65535)]
"""tritonserver cannot let the system choose a port."""


class TritonSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="VOXLOOP_TRITON_", extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    http_port: FixedPort = 8000
    grpc_port: FixedPort = 8001
    metrics_port: FixedPort = 8002
    env: Path = ROOT / ".venv-triton"
    """The virtual environment that holds tritonserver and the Python of its models."""
    repository: Path = ROOT / "models"
    """The folder of models."""
    models: Annotated[tuple[str, ...], NoDecode] = ("nova",)
    """Which of them to load, separated by commas; the others are not touched."""
    cache: Path = ROOT / ".voxloop" / "triton"
    """Where the backend folder is put together."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    start_s: Seconds = 330.0
    """A server whose models are not loaded by then is ended, for its supervisor to start another. models/nova
    gives its own up after 300."""
    exit_timeout_s: Annotated[int, Field(ge=0)] = 3
    """How long running requests may take to end after SIGTERM."""
    allow_anonymous: bool = False
    """Serve an address that other machines reach. Triton knows no keys: for trusted networks only."""

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("env", "repository", "cache")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.absolute()

    @model_validator(mode="after")
    def _never_open_by_accident(self) -> Self:
        if not is_loopback(self.host) and not self.allow_anonymous:
            raise ValueError(
                f"host {self.host} is reachable from other machines and Triton checks no keys; "
                "set VOXLOOP_TRITON_ALLOW_ANONYMOUS=1 if that is meant"
            )
        return self
