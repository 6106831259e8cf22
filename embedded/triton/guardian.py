"""A small process that outlives tritonserver by a moment, to end what it left behind.

A stub, the process of a Python model, watches its server and leaves when that is gone. But one that was at
work when the server was killed waits for its word for ever, with the interpreter's lock held. So somebody
else has to watch, who also ends a server whose start hangs. Run as a script, without site-packages, to stay
small.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

STUB = "triton_python_backend_stub"
REGION = "triton_python_backend_shm_region_"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory


LOOK_MS = 500


def start(server: int, host: str, port: int, start_s: float) -> None:
    """Guard the process `server`: ours, before it becomes tritonserver, which opens host:port when ready."""
    subprocess.Popen(  # noqa: S603 - this very file
        [sys.executable, "-I", "-S", __file__, str(server), host, str(port), str(start_s)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # who kills the server's whole group spares us
    )


def guard(server: int, host: str, port: int, start_s: float) -> None:
    """Wait until `server` has ended; then end its stubs and remove the memory that it shared with them.

    One that does not listen after `start_s`, as it does when its models are loaded, is ended.
    """
    hanging: list[int] = []
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(server)
        watch = select.poll()
        watch.register(handle, select.POLLIN)
        deadline = time.monotonic() + start_s
        while not watch.poll(LOOK_MS) and not _listens(host, port):
            if time.monotonic() > deadline:
                sys.stderr.write(
                    f"triton: not started after {start_s:g} s; ending it (VOXLOOP_TRITON_START_S)\n"
                )
                hanging = _descendants(server)
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                break
        watch.poll()
    for process, arguments in _stubs(str(server)):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        for name in arguments:
            if name.startswith(REGION):
                (SHARED_MEMORY / name).unlink(missing_ok=True)
    for process in hanging:  # it does not notice that its server is gone
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), LOOK_MS / 1000).close()
    except OSError:
        return False
    return True


def _descendants(server: int) -> list[int]:
    """The processes below `server`, but for this one."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                stat = (folder / "stat").read_text(errors="replace").rpartition(") ")[2]
                parents[int(folder.name)] = int(stat.split()[1])
    found, above = set[int](), {server}
    while above:
        above = {process for process, parent in parents.items() if parent in above} - {os.getpid()}
        found |= above
    return list(found)


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
    guard(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
