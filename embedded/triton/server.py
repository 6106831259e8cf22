"""The command line and the environment of tritonserver."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from embedded.triton import installation, libraries, repository
from embedded.triton.installation import Installation
from embedded.triton.settings import TritonSettings
from shared import process
from shared.errors import StartupError

_LOG_FLAGS: dict[str, tuple[str, ...]] = {
    "debug": ("--log-verbose=1",),
    "info": (),
    "warning": ("--log-info=false",),
    "error": ("--log-info=false", "--log-warning=false"),
}


def environment(found: Installation, inherited: Mapping[str, str]) -> dict[str, str]:
    """The stub takes its site-packages from the first python3 on PATH and libpython from LD_LIBRARY_PATH."""
    result = {name: value for name, value in inherited.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    result["PATH"] = _before(found.env / "bin", inherited.get("PATH"))
    result["LD_LIBRARY_PATH"] = _before(found.libdir, inherited.get("LD_LIBRARY_PATH"))
    result["VIRTUAL_ENV"] = str(found.env)
    return result


def _before(first: Path, rest: str | None) -> str:
    return f"{first}{os.pathsep}{rest}" if rest else str(first)


def command(settings: TritonSettings, found: Installation, backends: Path) -> list[str]:
    return [
        str(found.tritonserver),
        f"--model-repository={settings.repository}",
        f"--backend-directory={backends}",
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in settings.models),
        *(f"--{kind}-address={settings.host}" for kind in ("http", "grpc", "metrics")),
        f"--http-port={settings.http_port}",
        f"--grpc-port={settings.grpc_port}",
        f"--metrics-port={settings.metrics_port}",
        f"--exit-timeout-secs={settings.exit_timeout_s}",
        "--allow-gpu-metrics=false",  # the engine runs on the CPU
        "--pinned-memory-pool-byte-size=0",
        "--disable-auto-complete-config",  # to ask a model for its own would start its process twice
        *_LOG_FLAGS[settings.log_level],
    ]


def prepare(settings: TritonSettings) -> tuple[list[str], dict[str, str]]:
    """All that can be checked before tritonserver runs. Raises StartupError."""
    for port, name in (
        (settings.http_port, "HTTP"),
        (settings.grpc_port, "GRPC"),
        (settings.metrics_port, "METRICS"),
    ):
        process.ensure_port_free(settings.host, port, f"triton's {name}", f"VOXLOOP_TRITON_{name}_PORT")
    for model in settings.models:
        if not (settings.repository / model / "config.pbtxt").is_file():
            raise StartupError(
                f"there is no model {model} in {settings.repository}.", hint="See VOXLOOP_TRITON_REPOSITORY."
            )
    found = installation.find(settings.env)
    env = environment(found, os.environ)
    if (given := env.get("VOXLOOP_MODEL")) and repository.MODEL in settings.models:
        brought = Path(given).expanduser().absolute()  # the engine starts in another folder
        served = repository.with_model(settings.repository, brought, settings.cache)
        settings = settings.model_copy(update={"repository": served})
        env["VOXLOOP_MODEL"] = str(brought)
    libraries.require(found.programs, env)
    return command(settings, found, installation.link_backends(found, settings.cache)), env
