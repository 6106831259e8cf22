"""Where the wheel nvidia-pytriton keeps tritonserver, and the folder of backends that it needs.

Only files of the wheel are used; its Python side is never imported.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from shared.errors import StartupError

_ASK = (
    "import json, sys, sysconfig; print(json.dumps(["
    "'%d.%d' % sys.version_info[:2], sysconfig.get_path('purelib'), sysconfig.get_config_var('LIBDIR')]))"
)
_HINT = "Run `make setup`."


@dataclass(frozen=True)
class Installation:
    """The server's files inside a virtual environment."""

    env: Path
    python: str
    """Version of the environment's Python, as in 3.11."""
    libdir: Path
    """Where that Python's shared library lies."""
    tritonserver: Path
    backend: Path
    """libtriton_python.so, the server's side of the Python backend."""
    backend_utils: Path
    stub: Path
    """The process that runs a model: one program for each version of Python."""

    @property
    def programs(self) -> tuple[Path, ...]:
        return (self.tritonserver, self.backend, self.stub)


def find(env: Path) -> Installation:
    """Raises StartupError when the environment is missing, broken, or of a Python without a stub."""
    version, purelib, libdir = _ask(env)
    triton = Path(purelib) / "pytriton" / "tritonserver"
    found = Installation(
        env=env,
        python=version,
        libdir=Path(libdir),
        tritonserver=triton / "bin" / "tritonserver",
        backend=triton / "backends" / "python" / "libtriton_python.so",
        backend_utils=triton / "backends" / "python" / "triton_python_backend_utils.py",
        stub=triton / "python_backend_stubs" / version / "triton_python_backend_stub",
    )
    for path in (*found.programs, found.backend_utils):
        if not path.is_file():
            raise StartupError(f"{env} lacks {path.relative_to(purelib)} of nvidia-pytriton.", hint=_HINT)
    return found


def _ask(env: Path) -> tuple[str, str, str]:
    python = env / "bin" / "python"
    if not python.exists():
        raise StartupError(f"there is no Python environment at {env} for the embedded Triton.", hint=_HINT)
    try:
        answer = subprocess.run(  # noqa: S603 - the interpreter of our own environment
            [python, "-I", "-c", _ASK], capture_output=True, text=True, timeout=30, check=True
        )
        version, purelib, libdir = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise StartupError(f"the Python environment at {env} does not run ({error}).", hint=_HINT) from None
    return version, purelib, libdir


def link_backends(found: Installation, cache: Path) -> Path:
    """The folder for --backend-directory: the wheel's own has no stub where the server looks for it.

    One folder for each environment and Python, made of links, so that several servers may share it.
    """
    folder = cache / "backends" / f"python{found.python}"
    try:
        (folder / "python").mkdir(parents=True, exist_ok=True)
        for target in (found.backend, found.backend_utils, found.stub):
            link = folder / "python" / target.name
            if not link.is_symlink() or link.readlink() != target:
                fresh = link.with_name(f".{link.name}.{os.getpid()}")
                fresh.symlink_to(target)
                fresh.replace(link)
    except OSError as error:
        raise StartupError(
            f"the backend folder {folder} cannot be made ({error.strerror}).",
            hint="Set VOXLOOP_TRITON_CACHE to a folder that can be written.",
        ) from None
    return folder
