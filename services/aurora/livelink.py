"""The face in Unreal, over Live Link: what a viewer sees, as datagrams to every host of the settings.

There is one subject, which shows one turn at a time: the newest, and then how that face rests. A host that
cannot be reached is counted, named in the log once until it can be again, and tried again with each turn.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from collections import deque
from datetime import datetime
from typing import Any

import orjson

from services.aurora import metrics
from services.aurora.livelink_packet import Host, Subject, order
from services.aurora.track import FPS
from services.aurora.viewers import Viewer

log = logging.getLogger(__name__)

FIRST_S = 1.0
"""How long the very first frames wait for the hosts' names to be resolved."""


class LiveLink:
    def __init__(self, hosts: tuple[Host, ...], subject: str) -> None:
        device = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{socket.gethostname()}/{subject}"))
        self._subject = Subject(subject, device, FPS)
        self._lines = [_Line(host) for host in hosts]
        self._shown: tuple[str, int] | None = None
        self._names: list[str] = []
        self._due: deque[tuple[float, asyncio.TimerHandle]] = deque()

    async def run(self, viewer: Viewer) -> None:
        """Shows what `viewer` sees, until it is cancelled."""
        try:
            await asyncio.wait([line.open() for line in self._lines], timeout=FIRST_S)
            while True:
                self._show(orjson.loads(await viewer.next()))
        finally:
            self._drop()
            for line in self._lines:
                line.close()

    def _show(self, message: dict[str, Any]) -> None:
        turn = message.get("session", ""), message.get("turn", 0)
        match message["type"]:
            case "animation.header":
                self._drop()
                self._shown, self._names = turn, message["names"]
                for line in self._lines:
                    line.open()
            case "animation" if turn == self._shown:
                self._later(message["in_ms"] / 1000, order(self._names, message["weights"]))
            case "animation.rest" if turn == self._shown:
                self._send(order(self._names, message["weights"]))
            case "animation.end" if turn == self._shown:
                self._drop()
            case "animation.clock" if turn == self._shown and not message["running"]:
                self._drop()

    def _later(self, delay_s: float, values: list[float]) -> None:
        """Unreal shows what comes at once, so a frame leaves when its sound is heard."""
        loop = asyncio.get_running_loop()
        while self._due and self._due[0][0] < loop.time():
            self._due.popleft()
        at_s = loop.time() + max(0.0, delay_s)
        self._due.append((at_s, loop.call_at(at_s, self._send, values)))

    def _drop(self) -> None:
        while self._due:
            self._due.popleft()[1].cancel()

    def _send(self, values: list[float]) -> None:
        now = datetime.now().astimezone()  # Unreal's timecode is the local time of day, as a phone's is
        time_s = now.hour * 3600 + now.minute * 60 + now.second + now.microsecond / 1e6
        packet = self._subject.packet(time_s, values)
        for line in self._lines:
            line.send(packet)


class _Line:
    """One host, over a socket of its own: only a connected one is told that nobody listens there."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._socket: socket.socket | None = None
        self._opening: asyncio.Task[None] | None = None
        self._faults = 0  # since the turn began
        self._named = False

    def open(self) -> asyncio.Task[None]:
        """Begins to, with each turn: a name that takes long to resolve holds up no frame of other hosts."""
        self._named &= self._faults > 0
        self._faults = 0
        if self._opening is None or (self._socket is None and self._opening.done()):
            self._opening = asyncio.create_task(self._connect())
        return self._opening

    def send(self, packet: bytes) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(packet)
        except OSError as error:  # also a full buffer: a late frame is worth nothing
            self._fault(error)

    def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._socket is not None:
            self._socket.close()

    async def _connect(self) -> None:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                self._host.name, self._host.port, type=socket.SOCK_DGRAM
            )
            family, kind, protocol, _, address = found[0]
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            self._socket = sock
            sock.connect(address)
        except OSError as error:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            self._fault(error)

    def _fault(self, error: OSError) -> None:
        self._faults += 1
        metrics.LIVELINK_FAULTS.labels(str(self._host)).inc()
        if not self._named:
            self._named = True
            log.warning(
                "cannot reach %s for Live Link: %s; is Unreal running there, with its ARKit face source?",
                self._host,
                error.strerror or error,
            )
