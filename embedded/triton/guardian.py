"""A small process that outlives tritonserver by a moment, to end what it left behind.

A stub, the process of a Python model, watches its server and leaves when that is gone. But one that was at
work when the server was killed waits for its word for ever, with the interpreter's lock held. So somebody
else has to watch. Run as a script, without site-packages, to stay small.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

STUB = "triton_python_backend_stub"
REGION = "triton_python_backend_shm_region_"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory


def start(server: int) -> None:
    """Guard the process `server`: ours, before it becomes tritonserver."""
    subprocess.Popen(  # noqa: S603 - this very file
        [sys.executable, "-I", "-S", __file__, str(server)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # who kills the server's whole group spares us
    )


def guard(server: int) -> None:
    """Wait until `server` has ended; then end its stubs and remove the memory that it shared with them."""
    with suppress(ProcessLookupError):
        watch = select.poll()
        watch.register(os.pidfd_open(server), select.POLLIN)
        watch.poll()
    for process, arguments in _stubs(str(server)):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        for name in arguments:
            if name.startswith(REGION):
                (SHARED_MEMORY / name).unlink(missing_ok=True)


def _stubs(server: str) -> list[tuple[int, list[str]]]:
    """The stubs that were started by `server`, which is one of their arguments, with their command lines."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                program, *arguments = (folder / "cmdline").read_text(errors="replace").split("\0")
                if program.endswith(f"/{STUB}") and server in arguments:
                    found.append((int(folder.name), arguments))
    return found


if __name__ == "__main__":
    guard(int(sys.argv[1]))
