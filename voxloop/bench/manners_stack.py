"""The whole product on ports of its own, with its embedded engines, for benchmarks that end parts of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from services.sophia.riva import Riva
from shared.channels import Endpoint
from shared.process import free_port
from voxloop import stack as stacks
from voxloop.bench.manners_tap import Tap, tapped
from voxloop.stack import PORTS, Stack
from voxloop.supervisor import Supervisor

PREFIXES = ("NOVA_", "SOPHIA_", "AURORA_", "VOXLOOP_")
KEPT = "VOXLOOP_TRITON_ENV"
"""Where the engine is installed is no matter of what is measured."""
MB = 1 << 20
SPEECH_S = 30.0
"""How long a synthesis may take under a load that fills the machine."""


@dataclass(frozen=True)
class House:
    """Everything that runs, and how it is looked at and broken."""

    stack: Stack
    tap: Tap
    riva: Riva
    """The speech server, asked directly."""
    _supervisor: Supervisor

    @property
    def voice_url(self) -> str:
        return self.stack.voice_url

    def log(self, name: str) -> str:
        return self._supervisor.log_of(name).read_text(errors="replace")


@asynccontextmanager
async def house(more: Mapping[str, str] | None = None) -> AsyncIterator[House]:
    """Starts everything and ends everything; `more` is added to the environment. Raises StartupError.

    What the operator's environment says of the product is left out meanwhile: it is the embedded engines
    that are measured, and ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        ports = {name: str(free_port()) for name in PORTS}
        with _environment(
            ports | {"VOXLOOP_STATE": folder, "SOPHIA_LOG_LEVEL": "warning"} | dict(more or {})
        ):
            stack = stacks.from_environment()
            supervisor = Supervisor(stack.logs, lambda *_: None)
            try:
                await supervisor.start(stack.engines)
                async with _tapped(stack) as (stack, tap, riva):
                    await supervisor.start(stack.services)
                    yield House(stack, tap, riva, supervisor)
            finally:
                await supervisor.stop()


@asynccontextmanager
async def _tapped(stack: Stack) -> AsyncIterator[tuple[Stack, Tap, Riva]]:
    """The stack with a tap before sophia's speech server."""
    *others, sophia = stack.services
    endpoint = Endpoint(
        "riva", sophia.env["SOPHIA_RIVA_URI"], use_tls=True, ca=Path(sophia.env["SOPHIA_RIVA_CA"])
    )
    riva = Riva(endpoint, speech_deadline_s=SPEECH_S)
    try:
        async with tapped(endpoint) as (tap, address):
            env = {**sophia.env, "SOPHIA_RIVA_URI": address, "SOPHIA_RIVA_TLS": "0"}
            yield replace(stack, services=(*others, replace(sophia, env=env))), tap, riva
    finally:
        await riva.close()


@contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in before:
        if name.startswith(PREFIXES) and name != KEPT:
            del os.environ[name]
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
