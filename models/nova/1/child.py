"""The engine's process, seen from Triton's."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from .messages import Broken, Cancel, Mailbox, Ready, Start
from .options import Options
from .standstill import Progress

START_S = 300.0
"""How long a model may take to load."""
LOOK_S = 0.5
CLOSE_S = 2.0
KERNELS_KEPT = "128"
"""Of oneDNN, which compiles one for each shape; see COMPILED_KEPT in pipeline.py."""


class Unavailable(Exception):
    """There is no engine, or no room in it; the message says which."""


class Stalled(Unavailable):
    """The process stood still while its model should have been loading. Another one may well get through."""


class Child:
    """Starts the process and waits until its model is loaded. Raises Unavailable when that fails.

    The process ends by itself when its socket closes, however this one ends.
    """

    def __init__(self, options: Options) -> None:
        folder = Path(__file__).parent
        ours, theirs = socket.socketpair()
        with theirs:
            python = (
                shutil.which("python3") or sys.executable
            )  # inside Triton's stub sys.executable is a guess
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [python, "-m", f"{folder.name}.process", str(theirs.fileno()), options.to_json()],
                cwd=folder.parent,
                env={"ONEDNN_PRIMITIVE_CACHE_CAPACITY": KERNELS_KEPT, **os.environ},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._socket = ours
        self._connection = Connection(os.dup(ours.fileno()))
        self._lock = threading.Lock()
        self.context = self._wait_until_ready(options.stall_s)
        self.inbox = Mailbox(self._connection)

    def _wait_until_ready(self, stall_s: float) -> int:
        word: object = None
        if self._heard(stall_s):
            with suppress(EOFError, OSError):
                word = self._connection.recv()
        if isinstance(word, Ready):
            return word.context
        self.close()
        raise Unavailable(word.message if isinstance(word, Broken) else self.epitaph())

    def _heard(self, stall_s: float) -> bool:
        """Whether it said anything in START_S. Raises Stalled where no thread of it moves for `stall_s`."""
        progress = Progress(self._process.pid)
        began = moved = time.monotonic()
        while not self._connection.poll(LOOK_S):
            now = time.monotonic()
            if progress.made():
                moved = now
            if now - moved > stall_s:
                self.close()
                raise Stalled(f"the engine's process stood still for {stall_s:g} s while it loaded its model")
            if now - began > START_S:
                return False
        return True

    def send(self, message: Start | Cancel) -> None:
        """An engine that is gone is no error here: the inbox says so."""
        with self._lock, suppress(OSError):
            self._connection.send(message)

    def epitaph(self) -> str:
        """How the process ended; asked after its inbox brought Ended."""
        try:
            status = self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            return "the engine's process hangs"
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return f"the engine's process ended {how}"

    def close(self) -> None:
        with self._socket, suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # the mailbox wakes up, and the process ends
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
