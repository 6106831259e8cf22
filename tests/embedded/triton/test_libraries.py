from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from embedded.triton import installation, libraries, server
from embedded.triton.settings import TritonSettings
from shared.errors import StartupError


@pytest.fixture(scope="module")
def found() -> installation.Installation:
    return installation.find(TritonSettings().env)


def test_a_complete_system_is_accepted(found: installation.Installation) -> None:
    libraries.require(found.programs, server.environment(found, {}))


def test_a_missing_library_is_named_with_who_needs_it(
    found: installation.Installation, tmp_path: Path
) -> None:
    """A copy of the server alone does not find the libraries that lie beside the original."""
    lonely = tmp_path / "tritonserver"
    shutil.copy(found.tritonserver, lonely)
    with pytest.raises(StartupError, match=r"tritonserver needs the shared library lib\S+\.so"):
        libraries.require([lonely], {})


def test_a_missing_libpython_names_its_package(found: installation.Installation, tmp_path: Path) -> None:
    """A copy of the stub that asks for a Python that is nowhere."""
    bundled = found.tritonserver.parents[3] / "nvidia_pytriton.libs"
    stub = tmp_path / "stub"
    stub.write_bytes(found.stub.read_bytes().replace(f"python{found.python}.so".encode(), b"python3.99.so"))
    with pytest.raises(
        StartupError, match=r"stub needs the shared library libpython3\.99\.so\.1\.0"
    ) as error:
        libraries.require([stub], {"LD_LIBRARY_PATH": str(bundled)})
    assert "apt-get install libpython3.99" in error.value.hint


def test_what_is_no_program_says_so(tmp_path: Path) -> None:
    text = tmp_path / "tritonserver"
    text.write_text("not a program")
    with pytest.raises(StartupError, match=r"tritonserver cannot be loaded \(.*file too short"):
        libraries.require([text], {})
