"""`make setup`: which Python it takes, and what it says where there is none. Nothing is installed here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


class Machine:
    """A folder with setup.sh in it, and a PATH on which there is only what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for command in ("sh", "rm", "dirname", "uname"):
            found = shutil.which(command)
            assert found
            (self.bin / command).symlink_to(found)
        (folder / "requirements").mkdir()
        shutil.copy(ROOT / "setup.sh", folder)
        shutil.copy(ROOT / "requirements" / "uv.txt", folder / "requirements")

    def has(self, name: str, script: str, folder: Path | None = None) -> Path:
        path = (folder or self.bin) / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def has_python(self, name: str, version: str, folder: Path | None = None) -> Path:
        """An interpreter that knows its version, and tells when it is asked to make an environment."""
        script = f'[ "$1" = -c ] && echo {version} && exit; echo "{name} is taken for $3"; exit 1'
        return self.has(name, script, folder)

    def setup(
        self, python: str = "", cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", str(self.folder / "setup.sh")],
            cwd=cwd or self.folder,
            env={"PATH": str(self.bin), "PYTHON": python, "PIP_NO_INDEX": "1", **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def refusal(self, python: str = "") -> str:
        """What is said, in one line, where nothing can be set up."""
        result = self.setup(python)
        assert result.returncode == 1
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        assert not (self.folder / ".venv").exists()
        return result.stderr

    def taken(self, python: str = "") -> str:
        """The name of the interpreter that is asked to make .venv."""
        said = self.setup(python).stdout
        assert said.endswith(" is taken for .venv\n")
        return said.split()[0]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# Which Python


@pytest.mark.parametrize("version", ["3.11", "3.12"])
@pytest.mark.parametrize("name", ["python3", "python"])
def test_a_supported_python_is_taken_by_whatever_name(machine: Machine, name: str, version: str) -> None:
    machine.has_python(name, version)
    assert machine.taken() == name


def test_a_supported_python_is_found_beside_others(machine: Machine) -> None:
    machine.has_python("python3", "3.13")
    machine.has_python("python3.12", "3.12")
    assert machine.taken() == "python3.12"


def test_a_command_that_does_not_run_is_passed_over(machine: Machine) -> None:
    machine.has("python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    machine.has_python("python3", "3.11")
    assert machine.taken() == "python3"


def test_the_python_that_is_named_is_taken(machine: Machine) -> None:
    machine.has_python("python3.11", "3.11")
    path = machine.has_python("mine", "3.12", machine.folder / "a folder with spaces")
    assert machine.taken(str(path)) == "mine"


def test_an_unsupported_python_is_named_with_its_version(machine: Machine) -> None:
    machine.has_python("python3", "3.13")
    machine.has_python("python", "2.7")
    told = machine.refusal()
    assert "needs Python 3.11 or 3.12. python3 is 3.13. python is 2.7. Name one: make setup PYTHON=" in told


def test_no_python_at_all_is_said(machine: Machine) -> None:
    assert "No Python was found. Name one: make setup PYTHON=" in machine.refusal()


def test_a_python_that_was_named_and_is_unsupported_is_not_replaced_by_another(machine: Machine) -> None:
    machine.has_python("python3.12", "3.12")
    path = machine.has_python("old", "3.9", machine.folder / "elsewhere")
    assert f" {path} is 3.9. " in machine.refusal(str(path))


def test_a_python_that_was_named_and_is_not_there_is_said(machine: Machine) -> None:
    machine.has_python("python3.12", "3.12")
    assert " /nowhere/python does not run. " in machine.refusal("/nowhere/python")


@pytest.mark.parametrize(("system", "processor"), [("Darwin", "arm64"), ("Linux", "aarch64")])
def test_a_machine_for_which_there_is_no_tritonserver_is_named(
    machine: Machine, system: str, processor: str
) -> None:
    machine.has_python("python3", "3.12")
    machine.has("uname", f'[ "$1" = -s ] && echo {system} || echo {processor}')
    assert machine.refusal().endswith(f"for Linux on x86-64 only; this is {system} on {processor}.\n")


# The environments


def test_a_python_that_cannot_make_environments_is_told_what_it_lacks_and_leaves_nothing_half_made(
    machine: Machine,
) -> None:
    machine.has(
        "python3",
        '[ "$1" = -c ] && echo 3.12 && exit; mkdir "$3"; echo "ensurepip is not available" >&2; exit 1',
    )
    (machine.bin / "mkdir").symlink_to(shutil.which("mkdir") or "")
    result = machine.setup()
    assert result.returncode == 1
    assert "ensurepip is not available" in result.stderr
    assert result.stderr.endswith("needs the package python3.12-venv.\n")
    assert not (machine.folder / ".venv").exists()


def test_environments_are_made_where_setup_lies_and_those_that_are_no_use_anew(
    machine: Machine, tmp_path: Path
) -> None:
    """One of another Python, and one that was left without pip. The index is out of reach here."""
    machine.has("python3", f'exec "{sys.executable}" "$@"')
    for env in (".venv", ".venv-triton"):
        (machine.folder / env).mkdir()
        machine.has("python", "exit 1", machine.folder / env / "bin")
        (machine.folder / env / "of-another-time").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = machine.setup(cwd=elsewhere)
    assert result.returncode == 1
    assert result.stderr.endswith("setup: pip could not install uv; is the package index reachable?\n")
    for env in (".venv", ".venv-triton"):
        assert not (machine.folder / env / "of-another-time").exists()
        python = machine.folder / env / "bin" / "python"
        asked = [str(python), "-c", "import sys; print(sys.version_info[:2])"]
        said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        assert said == f"{sys.version_info[:2]}\n"
    made = (machine.folder / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    assert machine.setup().returncode == 1
    assert (machine.folder / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == made, "good ones are kept"
    assert list(elsewhere.iterdir()) == []
