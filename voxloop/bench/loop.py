"""What the loop itself adds to its engines: sophia and nova between engines that cost nothing.

sophia and nova run on one core, the engines (voxloop/bench/loop_engines.py, TLS to Riva) and the listeners on
another. `added` is the time from the last voiced sample sent to the first sound of the reply, less what the
engines took: until their final, to the first sentence of the answer, to its first sound.

- `added_ms_p50`, `added_ms_p95`: at one session, and with `_8` at eight.
- `hush_ms_p50`: from the first sample of speech over a reply to `reply.paused`.
- `interrupted_after_interim_ms_p50`: from the first interim with words to `interrupted`.
- `cpu_s_per_session_minute_N`: of sophia and nova together, with N sessions.
- `mb_per_session`: what both hold more (PSS) with the most sessions than with one.
- `early_hidden_share`: with a recogniser that guesses after 160 ms of silence and decides after 400, and a
  model that thinks for 150: how much of those 150 is gone, in the median turn, when sophia starts early.
- `sessions_per_core`: the most sessions measured at which `v2v_ms_p95`, from the last voiced sample sent to
  the first sound of the reply, is below twice that of eight, as it is counted for other frameworks.
- `sessions_per_core_added`: likewise of `added_ms_p95`, without the engines' own time: much stricter.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import orjson
import psutil
import uvloop

from shared.audio import RATE, read_wav
from shared.errors import StartupError
from shared.process import free_port
from voxloop.bench.cores import on_core
from voxloop.bench.loop_client import STEP, Listener, talk
from voxloop.bench.loop_engines import Event, Pace
from voxloop.bench.nova_stack import unit
from voxloop.bench.report import Report, Row
from voxloop.paths import QUESTION, ROOT
from voxloop.stack import Unit
from voxloop.supervisor import Supervisor

ENGINES_MODULE = "voxloop.bench.loop_engines"
LOUD = 300
"""Amplitude of PCM16 above which a sample counts as voiced."""
SETTLE_S = 1.0
ENGINES = (("end_heard", "final"), ("asked", "answered"), ("to_speak", "spoken"))
"""From when to when each engine has the turn."""
MOMENTS = frozenset(moment for engine in ENGINES for moment in engine)
MB = 1 << 20


THINKING = Pace(final_s=0.4, guess_s=0.16, first_token_s=0.15)


@dataclass(frozen=True)
class Plan:
    """How many sessions for how long, in seconds. The defaults take some five minutes."""

    rounds: tuple[tuple[int, float], ...] = ((1, 60), (8, 40), (40, 30), (56, 25), (64, 25))
    early: tuple[int, float] = (4, 40)
    thinking: Pace = THINKING


@dataclass(frozen=True)
class Loop:
    base: str
    """ws://host:port of sophia."""
    engines: asyncio.subprocess.Process
    processes: tuple[psutil.Process, ...]
    log_file: Path
    """sophia's."""

    @property
    def url(self) -> str:
        return f"{self.base}/sophia/voice"

    async def events(self) -> list[Event]:
        """What the engines saw since this was asked last."""
        assert self.engines.stdin is not None  # noqa: S101 - it was started with pipes
        assert self.engines.stdout is not None  # noqa: S101 - likewise
        self.engines.stdin.write(b"\n")
        return [tuple(event) for event in orjson.loads(await self.engines.stdout.readline())]

    def cpu_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self.processes)

    def memory_mb(self) -> float:
        return float(sum(process.memory_full_info().pss for process in self.processes)) / MB


def run(plan: Plan | None = None) -> Report:
    """Raises StartupError where the services do not start."""
    return uvloop.run(_run(plan or Plan()))


async def _run(plan: Plan) -> Report:
    sound = speech()
    rows: list[Row] = []
    async with loop(Pace()) as running:
        for sessions, seconds in plan.rounds:
            rows.append(await _round(running, sessions, seconds, sound))
    out = figures(rows) | {"early_hidden_share": await _hidden(plan, sound)}
    return Report("loop", rows, out, (f"load of the machine (1 min): {os.getloadavg()[0]:.2f}",))


async def _hidden(plan: Plan, sound: bytes) -> float | None:
    after: list[float] = []
    for early in ("0", "1"):
        async with loop(plan.thinking, {"SOPHIA_EARLY_START": early}) as running:
            measured = await _round(running, *plan.early, sound)
        if measured["after_final_ms_p50"] is None:
            return None
        after.append(measured["after_final_ms_p50"])
    return round((after[0] - after[1]) / (1e3 * plan.thinking.first_token_s), 3)


def speech() -> bytes:
    """The recorded question from its first voiced sample to its last, in whole steps."""
    pcm = read_wav(QUESTION, RATE)
    loud = [index for index, sample in enumerate(memoryview(pcm).cast("h")) if abs(sample) > LOUD]
    voiced = pcm[2 * loud[0] : 2 * (loud[-1] + 1)]
    return voiced[len(voiced) % STEP :]


async def _round(running: Loop, sessions: int, seconds: float, sound: bytes) -> Row:
    cpu_s, started = running.cpu_s(), time.monotonic()
    talking = asyncio.create_task(talk(running.url, sessions, seconds, sound))
    await asyncio.wait({talking}, timeout=seconds)
    minutes = (time.monotonic() - started) / 60
    spent_s, memory_mb = running.cpu_s() - cpu_s, running.memory_mb()
    listeners = await talking
    await asyncio.sleep(SETTLE_S)
    return row(sessions, listeners, await running.events(), spent_s / minutes / sessions, memory_mb)


def row(
    sessions: int, listeners: Sequence[Listener], events: Sequence[Event], cpu_s: float, memory_mb: float
) -> Row:
    """What one round showed. `cpu_s` of a session's minute."""
    seen: dict[tuple[int, int], dict[str, float]] = {}
    for what, session, number, at in events:
        seen.setdefault((session, number), {}).setdefault(what, at)
    v2v, added, after_final, hush, decided = (list[float]() for _ in range(5))
    for turn in (turn for listener in listeners for turn in listener.turns):
        moments = seen.get((turn.session, turn.number), {})
        if turn.first_audio is not None and moments.keys() >= MOMENTS:
            whole = turn.first_audio - turn.ended
            v2v.append(1e3 * whole)
            after_final.append(1e3 * (turn.first_audio - moments["final"]))
            added.append(1e3 * (whole - sum(moments[end] - moments[begin] for begin, end in ENGINES)))
        if turn.paused is not None:
            hush.append(1e3 * (turn.paused - turn.began))
        if turn.interrupted is not None and "interim" in moments:
            decided.append(1e3 * (turn.interrupted - moments["interim"]))
    return {
        "sessions": sessions,
        "turns": len(added),
        "failed": sum(len(listener.failures) for listener in listeners),
        "v2v_ms_p50": _percentile(v2v, 50),
        "v2v_ms_p95": _percentile(v2v, 95),
        "after_final_ms_p50": _percentile(after_final, 50),
        "added_ms_p50": _percentile(added, 50),
        "added_ms_p95": _percentile(added, 95),
        "hush_ms_p50": _percentile(hush, 50),
        "interrupted_after_interim_ms_p50": _percentile(decided, 50),
        "cpu_s_per_session_minute": round(cpu_s, 3),
        "memory_mb": round(memory_mb, 1),
    }


def _percentile(values: Sequence[float], percent: int) -> float | None:
    if len(values) < 2:
        return round(values[0], 2) if values else None
    return round(quantiles(values, n=100, method="inclusive")[percent - 1], 2)


def figures(rows: Sequence[Row]) -> dict[str, float | int | None]:
    by = {row["sessions"]: row for row in rows}
    out: dict[str, float | int | None] = {}
    for sessions, end in ((1, ""), (8, "_8")):
        if sessions in by:
            out |= {f"{name}{end}": by[sessions][name] for name in ("added_ms_p50", "added_ms_p95")}
    reference = by.get(8) or rows[0]
    out |= {name: reference[name] for name in ("hush_ms_p50", "interrupted_after_interim_ms_p50")}
    out |= {
        f"cpu_s_per_session_minute_{sessions}": by[sessions]["cpu_s_per_session_minute"]
        for sessions in (8, 40)
        if sessions in by
    }
    first, last = rows[0], rows[-1]
    if last["sessions"] > first["sessions"]:
        more = (last["memory_mb"] - first["memory_mb"]) / (last["sessions"] - first["sessions"])
        out["mb_per_session"] = round(more, 2)
    for name, p95 in (("sessions_per_core", "v2v_ms_p95"), ("sessions_per_core_added", "added_ms_p95")):
        limit = 2 * (reference[p95] or 0.0)
        good = [row["sessions"] for row in rows if (row[p95] or limit) < limit]
        out[name] = max(good, default=None)
    out["failed"] = sum(row["failed"] for row in rows)
    return out


@asynccontextmanager
async def loop(pace: Pace, env: Mapping[str, str] | None = None) -> AsyncIterator[Loop]:
    """The engines, nova and sophia on ports of their own; `env` is sophia's. Raises StartupError."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            free_engines(Path(folder), pace) as (engines, ports),
            supervised(Path(folder)) as supervisor,
        ):
            nova_grpc, nova_http, http = (free_port() for _ in range(3))
            with on_core(0):
                await supervisor.start([nova_unit(ports["model"], nova_http, nova_grpc)])
                await supervisor.start([sophia_unit(ports["riva"], Path(folder), nova_grpc, http, env or {})])
            processes = tuple(psutil.Process(supervisor.pid(name)) for name in ("nova", "sophia"))
            with on_core(-1):
                yield Loop(f"ws://127.0.0.1:{http}", engines, processes, supervisor.log_of("sophia"))


@asynccontextmanager
async def free_engines(
    folder: Path, pace: Pace
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, int]]]:
    """Riva and a model, and their ports; the certificate is in `folder`. Raises StartupError."""
    with on_core(-1):
        engines = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            ENGINES_MODULE,
            str(folder),
            orjson.dumps(pace).decode(),
            cwd=ROOT,
            env={**os.environ, "VOXLOOP_SUPERVISED": str(os.getpid())},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=64 * MB,
        )
    try:
        assert engines.stdout is not None  # noqa: S101 - it was started with pipes
        line = await engines.stdout.readline()
        if not line:
            raise StartupError("the benchmark's engines do not start")
        yield engines, orjson.loads(line)
    finally:
        engines.kill()
        await engines.wait()


@asynccontextmanager
async def supervised(folder: Path) -> AsyncIterator[Supervisor]:
    """Whatever it starts is ended; the logs are in `folder`."""
    supervisor = Supervisor(folder, lambda *_: None)
    try:
        yield supervisor
    finally:
        await supervisor.stop()


def nova_unit(model_port: int, http: int, grpc: int) -> Unit:
    env = {
        "NOVA_CONTRACT": "openai",
        "NOVA_OPENAI_URL": f"http://127.0.0.1:{model_port}/v1",
        "NOVA_MODEL": "free",
        "NOVA_HTTP_PORT": str(http),
        "NOVA_GRPC_PORT": str(grpc),
        "NOVA_LOG_LEVEL": "warning",
    }
    return unit("nova", "services.nova", env, f"http://127.0.0.1:{http}/healthz")


def sophia_unit(riva_port: int, folder: Path, nova_grpc: int, http: int, more: Mapping[str, str]) -> Unit:
    env = {
        "SOPHIA_RIVA_URI": f"localhost:{riva_port}",
        "SOPHIA_RIVA_CA": str(folder / "ca.pem"),
        "SOPHIA_NOVA_URI": f"127.0.0.1:{nova_grpc}",
        "SOPHIA_HTTP_PORT": str(http),
        "SOPHIA_LOG_LEVEL": "warning",
        **more,
    }
    return unit("sophia", "services.sophia", env, f"http://127.0.0.1:{http}/healthz")
