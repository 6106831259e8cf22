"""Are the shared libraries there that a program needs? Asked before it starts, to say so plainly."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from shared.errors import StartupError

LOADER = Path("/lib64/ld-linux-x86-64.so.2")
"""The dynamic loader of Linux on x86-64, at the address that its ABI fixes; `--list` is what ldd does."""

_PACKAGES = {
    "libc.so.6": "libc6",
    "libexpat.so.1": "libexpat1",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
}
_MISSING = re.compile(
    r"^\s*(\S+) => not found|error while loading shared libraries: ([^\s:]+): cannot open", re.MULTILINE
)
_TOO_OLD = re.compile(r"(\S+): version `(\S+)' not found")


def require(programs: Iterable[Path], environment: Mapping[str, str]) -> None:
    """Raises StartupError that names the library, who needs it, and the Debian package where we know it."""
    for program in programs:
        answer = _list(program, environment)
        listing = answer.stdout + answer.stderr
        missing = next((found[1] or found[2] for found in _MISSING.finditer(listing)), None)
        if missing:
            raise StartupError(
                f"{program.name} needs the shared library {missing}, which is not on this system.",
                hint=_hint(missing),
            )
        too_old = _TOO_OLD.search(listing)
        if too_old:
            raise StartupError(
                f"{program.name} needs {too_old[2]}, but this system's {Path(too_old[1]).name} is older.",
                hint="Use a newer system: Debian 12, Ubuntu 22.04 or later.",
            )
        if answer.returncode:
            raise StartupError(
                f"{program.name} cannot be loaded ({answer.stderr.strip()}).", hint="Run `make setup`."
            )


def _list(program: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - the system's own loader
            [LOADER, "--list", program],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=dict(environment),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StartupError(
            f"the dynamic loader {LOADER} does not run ({error}).", hint="The embedded Triton needs glibc."
        ) from None


def _hint(library: str) -> str:
    python = re.fullmatch(r"libpython(3\.\d+)\.so\.1\.0", library)
    if python:
        return (
            f"On Debian or Ubuntu: apt-get install libpython{python[1]}. "
            "A Python of your own must be built with --enable-shared."
        )
    package = _PACKAGES.get(library)
    return (
        f"On Debian or Ubuntu: apt-get install {package}."
        if package
        else "Install the package that holds it."
    )
