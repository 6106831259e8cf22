"""Real nvidia-smi outputs, replayed by a command of that name on PATH. They lie beside a checkout."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MATERIAL

Replay = Callable[..., None]


@pytest.fixture(scope="session")
def captures() -> Path:
    folder = MATERIAL / "captures" / "nvidia-smi"
    if not folder.is_dir():
        pytest.skip("no ../shared/captures beside this checkout")
    return folder


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a shell script of this name first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def put(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return put


@pytest.fixture
def replay(captures: Path, commands: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> Replay:
    """nvidia-smi answers as on that machine; `edit` changes words of what was captured."""

    def start(name: str, state: str = "idle", edit: dict[str, str] | None = None) -> None:
        sed = "".join(f" -e {shlex.quote(f's/{old}/{new}/g')}" for old, new in (edit or {}).items())
        through = f" | sed{sed}" if sed else ""
        if name.endswith(".xml"):
            commands("nvidia-smi", f'[ "$*" = "-q -x" ] || exit 2\ncat {captures / name}{through}')
            return
        monkeypatch.setenv("FAKE_SMI", str(captures / name))
        monkeypatch.setenv("FAKE_SMI_STATE", state)
        asks = f'python3 {captures / "fake-nvidia-smi"} "$@"'
        commands("nvidia-smi", f"{asks} >/dev/null || {{ {asks}; exit; }}\n{asks}{through}")

    return start
