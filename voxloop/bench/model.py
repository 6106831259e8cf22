"""What nova-mini knows, asked through nova and the embedded Triton: free generation, greedy, as it is served.

The questions are those of `training/nova_mini/exams.py`, held out of its training, and 250 written by hand
outside of its domain. An answer counts when all of its text is right; outside, when it admits not to know.

- `exact_in_domain` (English), `german_exact`, `recall_exact`, `honest_out_of_domain`: shares of right ones.
- `size_mb`: the model file. `first_token_ms`: median time to the first text of one stream, alone, by gRPC.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import uvloop

from shared.channels import Endpoint, open_channel
from shared.errors import StartupError
from voxloop.bench.nova_clients import QUESTIONS, NovaGrpc
from voxloop.bench.nova_stack import NovaStack, nova_stack
from voxloop.bench.report import Report
from voxloop.model_state import NOVA_MINI
from voxloop.paths import ROOT

ALONE = 100
WARM = 10
NAMES = {"german": "german_exact"}
"""Figures that the evaluation calls by another name."""


def run(every: int = 1) -> Report:
    """Asks one in `every` questions. Raises StartupError where the evaluation is not here, or fails."""
    return uvloop.run(_run(every))


async def _run(every: int) -> Report:
    async with nova_stack({"VOXLOOP_MODEL": str(NOVA_MINI)}) as stack:
        first = await _first_token_ms(stack)
        evaluated = await asyncio.to_thread(_evaluate, f"http://{stack.http}", every)
    figures: dict[str, float | int | None] = {
        NAMES.get(name, name): value for name, value in evaluated["figures"].items()
    }
    figures["first_token_ms"] = round(first, 2)
    rows = [{"task": task, "right": right} for task, right in evaluated["tasks"].items()]
    notes = (f"first token: n={ALONE} streams, one at a time",)
    return Report("model", rows, figures, notes)


async def _first_token_ms(stack: NovaStack) -> float:
    async with open_channel(Endpoint("nova", stack.grpc)) as channel:
        nova = NovaGrpc(channel)
        times = [(await nova.stream(QUESTIONS[at % len(QUESTIONS)])).ttft_s for at in range(WARM + ALONE)]
    return 1e3 * median(times[WARM:])


def _evaluate(url: str, every: int) -> dict[str, dict[str, float]]:
    """In a process of its own: what makes the questions is no part of the installed product."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            sys.executable,
            "-m",
            "training.nova_mini",
            "evaluate",
            "--nova",
            url,
            "--every",
            str(every),
            "--json",
            str(report),
        ]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if ended.returncode:
            reason = (ended.stderr.strip().splitlines() or ["no word"])[-1]
            raise StartupError(f"the evaluation failed: {reason}")
        found: dict[str, dict[str, float]] = json.loads(report.read_bytes())
        return found
