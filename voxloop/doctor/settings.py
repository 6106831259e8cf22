"""What the doctor measures against: environment variables that begin with VOXLOOP_DOCTOR_."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.settings import Seconds

ROOT = Path(__file__).resolve().parents[2]


class DoctorSettings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="VOXLOOP_DOCTOR_", extra="ignore", frozen=True, env_ignore_empty=True
    )

    gpus: Annotated[int, Field(ge=0)] | None = None
    """How many GPUs this machine should have: 8 on a DGX. Not set: any number is right, none too."""
    headroom_c: int = 5
    """A GPU nearer than this to slowing down for heat is warned of. The safe temperature differs by GPU."""
    max_temperature_c: int = 85
    """For GPUs that do not tell how near they are."""
    free_gb: float = 200.0
    """For Riva's models, Triton's and the images."""
    shm_mb: float = 1024.0
    nofile: int = 65536
    disk: Path = ROOT
    """Where the models are going to lie."""
    env_file: Path = ROOT / ".env"
    """The versions of the images; .env.example beside it is read first."""
    riva_quickstart: Path = ROOT / ".voxloop" / "ngc" / "riva_quickstart"
    """Where `deploy/ngc/download.sh` puts Riva's quickstart."""
    dcgm_url: str = "http://127.0.0.1:9400/metrics"

    command_s: Seconds = 10.0
    """How long one command may take."""
    container_s: Seconds = 60.0
    """How long a container may take to show its GPUs."""
