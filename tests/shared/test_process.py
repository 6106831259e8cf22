"""Processes that leave nothing behind, and ports whose holder is named."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from shared.errors import StartupError
from shared.process import ensure_port_free, free_port

DEADLINE_S = 30.0

PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
ARM = "from shared.process import die_with_parent; die_with_parent({}); "
TELL = "import os; print(os.getpid(), flush=True); "
STAY = "import time; time.sleep(600)"


@contextmanager
def family(child: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process whose child runs `child`; yields it, and the pid that the child prints.

    Both hold the pipe of its stdout, which ends when the last of them has ended.
    """
    with subprocess.Popen([sys.executable, "-c", PARENT, child], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        try:
            yield parent, pid
        finally:
            parent.kill()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_ends_with_its_parent_however_that_ends(end: signal.Signals) -> None:
    with family(ARM.format("") + TELL + STAY) as (parent, _):
        parent.send_signal(end)
        rest, _ = parent.communicate(timeout=DEADLINE_S)  # would wait for the 600 s of an orphan
    assert rest == ""


def test_it_may_end_by_a_signal_that_lets_it_clean_up() -> None:
    told = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('cleaned'))); "
    with family(told + ARM.format("signal.SIGTERM") + TELL + STAY) as (parent, _):
        parent.kill()
        rest, _ = parent.communicate(timeout=DEADLINE_S)
    assert rest == "cleaned\n"


def test_the_rule_survives_exec() -> None:
    with family(ARM.format("") + TELL + "os.execvp('sleep', ['sleep', '600'])") as (parent, _):
        parent.kill()
        parent.communicate(timeout=DEADLINE_S)


def supervised(value: str | None) -> subprocess.CompletedProcess[str]:
    """A process that is supervised as the environment says, and tells its death signal (PR_GET_PDEATHSIG)."""
    script = (
        "from shared.process import supervised; supervised(); import ctypes; n = ctypes.c_int(); "
        "ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print(n.value)"
    )
    environment = {name: text for name, text in os.environ.items() if name != "VOXLOOP_SUPERVISED"}
    if value is not None:
        environment["VOXLOOP_SUPERVISED"] = value
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("value", "death_signal"),
    [(None, 0), ("", 0), ("1", signal.SIGKILL), (str(os.getpid()), signal.SIGKILL)],
)
def test_only_a_supervised_process_ends_with_its_parent(value: str | None, death_signal: int) -> None:
    assert supervised(value).stdout == f"{int(death_signal)}\n"


def test_a_process_whose_supervisor_ended_while_it_started_ends_too() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    result = supervised(str(gone.pid))
    assert result.returncode == 1
    assert result.stderr == "the supervisor that started this process has ended.\n"


# Threads

FAVOUR = """
import os, threading
from shared.process import favour_the_loop
end = threading.Event()
thread = threading.Thread(target=end.wait)
thread.start()
favour_the_loop()
print(os.sched_getscheduler(thread.native_id) == os.SCHED_BATCH, os.sched_getscheduler(0) == os.SCHED_OTHER)
end.set()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="policies of single threads are Linux's")
def test_the_threads_that_are_there_do_not_interrupt_the_loops() -> None:
    told = subprocess.run([sys.executable, "-c", FAVOUR], capture_output=True, text=True, check=True)
    assert told.stdout == "True True\n"


# Ports


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_free_port_is_free(host: str) -> None:
    ensure_port_free(host, free_port(host), "nova", "NOVA_HTTP_PORT")


def test_no_free_port_is_given_twice() -> None:
    ports = [free_port() for _ in range(200)]
    assert len(set(ports)) == len(ports)


@pytest.mark.skipif(sys.platform != "linux", reason="reads where Linux says it")
def test_no_free_port_is_one_of_outgoing_connections() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if first <= 21000:
        pytest.skip("this machine's outgoing connections leave no room below theirs")
    assert not any(first <= free_port() <= last for _ in range(200))


def test_port_0_is_always_free() -> None:
    ensure_port_free("127.0.0.1", 0, "nova", "NOVA_HTTP_PORT")


HOLD = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_is_named_with_its_holder_and_the_setting_that_moves_us(host: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        with pytest.raises(StartupError) as caught:
            ensure_port_free(host, port, "nova", "NOVA_HTTP_PORT")
        holder.communicate()
    told = str(caught.value)
    assert f"port {port} for nova is in use by python" in told
    assert f"(pid {holder.pid})" in told
    assert told.endswith("End it, or set NOVA_HTTP_PORT to another port.")


def test_a_port_in_use_on_ipv6() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(StartupError, match=rf"in use by .*\(pid {os.getpid()}\)"):
            ensure_port_free("::1", port, "nova", "NOVA_HTTP_PORT")


def test_a_port_that_was_in_use_a_moment_ago_is_free() -> None:
    """The server closes first, so that its side of the connection lingers (TIME_WAIT)."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            connection, _ = server.accept()
            connection.close()
    ensure_port_free("127.0.0.1", port, "nova", "NOVA_HTTP_PORT")


@pytest.mark.parametrize("host", ["203.0.113.9", "2001:db8::9"])
def test_an_address_that_is_not_of_this_machine_is_not_said_to_be_in_use(host: str) -> None:
    with pytest.raises(StartupError) as caught:
        ensure_port_free(host, free_port(), "nova", "NOVA_HTTP_PORT")
    assert f"nova cannot listen on {host}" in str(caught.value)
    assert "in use" not in str(caught.value)
