"""Processes that end with their parent and do not stop to collect, and ports that say who holds them."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import random
import signal
import socket
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import psutil

from shared.errors import StartupError

PR_SET_PDEATHSIG = 1  # linux/prctl.h
_FIRST_TEST_PORT = 20_000  # above those of well-known servers

_given: set[int] = set()


def die_with_parent(with_signal: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to send `with_signal` when our parent ends, however it ends.

    Survives exec, so a launcher may call it before it becomes another program. The kernel takes the
    thread that started us for the parent: start processes from one that lives as long as its process.
    Elsewhere than on Linux it does nothing.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0) != 0:
        raise StartupError(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it ended between the two lines above
        os.kill(os.getpid(), with_signal)


def supervised() -> None:
    """First line of every process that `voxloop up` starts.

    VOXLOOP_SUPERVISED holds the supervisor's pid, by which one is missed that ended before we came
    here; or 1, for a supervisor that does not say.
    """
    supervisor = os.environ.get("VOXLOOP_SUPERVISED")
    if supervisor:
        die_with_parent()
        if supervisor not in ("1", str(os.getppid())):
            raise SystemExit("the supervisor that started this process has ended.")


def keep_what_is_loaded() -> None:
    """Last line before a process serves: a full collection that walks through all that was loaded stops
    everything for 50 to 100 ms."""
    gc.collect()
    gc.freeze()


def favour_the_loop() -> None:
    """Another line before a process serves, called in the event loop's thread: the other threads run in its
    pauses.

    Else the kernel stops it for gRPC's at each of their events, which then wait for it all the same. With 56
    sessions on one core sophia switches threads 1,600 times a second so, and 8,000 times without. Linux has a
    policy for each thread (sched(7)); elsewhere, and where that is forbidden, this does nothing.
    """
    if sys.platform == "linux":
        try:
            tasks = [int(task.name) for task in Path("/proc/self/task").iterdir()]
        except OSError:
            return
        for thread in set(tasks) - {threading.get_native_id()}:
            with suppress(OSError):  # it has ended, or we may not
                if os.sched_getscheduler(thread) == os.SCHED_OTHER:  # and not what an operator chose
                    os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago; for tests and benchmarks.

    From below those that the kernel gives to outgoing connections, where these begin above 21000, as by
    default: it would give one away before the server that it was meant for has started. No port twice, as two
    may be asked for before either is listened on.
    """
    for port in random.sample(range(_FIRST_TEST_PORT, _first_ephemeral_port()), k=200):
        with closing(socket.socket(_family(host))) as sock:
            try:
                sock.bind((host, port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                continue
        if port not in _given:
            _given.add(port)
            return port
    raise StartupError(f"no free port on {host} among 200 tried.", hint="End what listens there.")


def _first_ephemeral_port() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:  # not Linux: IANA's (RFC 6335, section 6)
        first = 49152
    return max(first, _FIRST_TEST_PORT + 1000)


def ensure_port_free(host: str, port: int, wanted_by: str, setting: str) -> None:
    """Raise StartupError that names the port, who holds it, and the setting that moves us.

    Or that says that `host` is no address of this machine.
    """
    if port == 0:
        return
    with closing(socket.socket(_family(host))) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except PermissionError:
            raise StartupError(
                f"port {port} for {wanted_by} needs root.", hint=f"Set {setting} to a port above 1023."
            ) from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise StartupError(
                    f"{wanted_by} cannot listen on {host} ({error.strerror}).",
                    hint="The host must be an address of this machine.",
                ) from None
            raise StartupError(
                f"port {port} for {wanted_by} is in use by {_holder(port)} ({error.strerror}).",
                hint=f"End it, or set {setting} to another port.",
            ) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return "another process"
