from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedded.triton import installation
from embedded.triton.settings import TritonSettings
from shared.errors import StartupError


@pytest.fixture(scope="module")
def found() -> installation.Installation:
    return installation.find(TritonSettings().env)


def test_the_wheels_files_are_found(found: installation.Installation) -> None:
    assert all(os.access(program, os.X_OK) for program in (found.tritonserver, found.stub))
    assert found.stub.parent.name == found.python
    assert (found.libdir / f"libpython{found.python}.so.1.0").exists()


def test_the_backend_folder_has_all_that_the_server_looks_for(
    found: installation.Installation, tmp_path: Path
) -> None:
    folder = installation.link_backends(found, tmp_path) / "python"
    assert {path.name: path.resolve() for path in folder.iterdir()} == {
        "libtriton_python.so": found.backend,
        "triton_python_backend_utils.py": found.backend_utils,
        "triton_python_backend_stub": found.stub,
    }


def test_a_link_of_an_older_installation_is_renewed(found: installation.Installation, tmp_path: Path) -> None:
    stub = installation.link_backends(found, tmp_path) / "python" / found.stub.name
    stub.unlink()
    stub.symlink_to("/gone")
    installation.link_backends(found, tmp_path)
    assert stub.resolve() == found.stub


def test_a_folder_that_cannot_be_written_is_named(found: installation.Installation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match=r"cannot be made.*VOXLOOP_TRITON_CACHE"):
        installation.link_backends(found, tmp_path / "file")


def test_a_missing_environment_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"there is no Python environment at .*nowhere.*Run `make setup`"):
        installation.find(tmp_path / "nowhere")


def test_an_environment_that_does_not_run_says_so(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    with pytest.raises(StartupError, match=r"does not run .*Run `make setup`"):
        installation.find(tmp_path)


def test_an_environment_without_triton_names_what_it_lacks(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    with pytest.raises(
        StartupError, match=r"lacks pytriton/tritonserver/bin/tritonserver .*Run `make setup`"
    ):
        installation.find(tmp_path)
