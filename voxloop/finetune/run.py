"""One fine-tuning, from its checks to its last step, or on from where it stopped."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from shared.errors import InputError, StartupError
from voxloop.finetune import data, machine
from voxloop.finetune import recipe as recipes
from voxloop.finetune.recipe import Recipe
from voxloop.paths import ROOT

STEP = re.compile(r"step (\d+) \| epoch \d+ \| loss ([\d.]+)")
"""How Automodel, and we on the CPU, log a step."""
STOP_S = 120.0
"""For the step at hand and its checkpoint, once it is asked to stop."""
MARK = "run.json"


class Run(BaseModel):
    """What a folder holds, in its run.json."""

    base: str
    adapter: bool
    fingerprint: str
    """Of the recipe, model and data: nothing else goes on here."""


@dataclass(frozen=True)
class Done:
    out: Path
    steps: int
    loss: float | None
    """Of the last step; None where all had been done before."""


def read(out: Path) -> Run:
    """Raises InputError for a folder that `finetune` has not made."""
    try:
        return Run.model_validate_json((out / MARK).read_bytes())
    except (OSError, ValidationError):
        raise InputError(f"{out} is no folder of `voxloop model finetune`.") from None


def finetune(
    recipe_file: Path, data_file: Path, out: Path, model: str, console: Console, *, cpu: bool, dry_run: bool
) -> Done | None:
    """None for a dry run. Raises VoxloopError before anything starts; SystemExit where it was interrupted."""
    recipe = recipes.load(recipe_file)
    rows = data.check(data_file)
    base, data_file, out = machine.model_of(recipe, model), data_file.absolute(), out.absolute()
    text = recipe.filled(base, data_file, out / "checkpoints")
    run = Run(base=base, adapter=recipe.peft is not None, fingerprint=_fingerprint(text, data_file))
    mounts = [out, data_file.parent, *([Path(base)] if Path(base).is_absolute() else [])]
    where = machine.place(recipe, mounts, cpu=cpu)
    going_on = _claim(out, run, text)
    filled = out / "recipe.yaml"
    found = machine.probe(where, filled, cpu=cpu)
    machine.judge(found, recipe, data_file, cpu=cpu)
    command = machine.training(recipe, where, filled, cpu=cpu)
    _say(console, found, recipe, rows, cpu=cpu)
    if dry_run:
        console.print(machine.as_text(command), highlight=False, soft_wrap=True)
        return None
    if going_on and any((out / "checkpoints").glob("*")):
        console.print("going on from the last checkpoint", highlight=False)
    return _train(command, out, recipe.steps(rows), console)


def _fingerprint(text: str, data_file: Path) -> str:
    return hashlib.sha256(text.encode() + data_file.read_bytes()).hexdigest()


def _claim(out: Path, run: Run, text: str) -> bool:
    """Makes the folder, or says that it is this very run's. Raises InputError where it is another's."""
    if (out / MARK).exists():
        if read(out) != run:
            raise InputError(
                f"{out} belongs to another recipe, model or data.",
                hint="Remove it, or name another by --out.",
            )
        return True
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty, and no fine-tuning's.", hint="Name another folder by --out.")
    try:
        (out / "checkpoints").mkdir(parents=True, exist_ok=True)
        (out / "recipe.yaml").write_text(text, "utf-8")
        (out / MARK).write_text(run.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise StartupError(f"{out} cannot be written ({error.strerror}).") from None
    return False


def _say(console: Console, found: machine.Probed, recipe: Recipe, rows: int, *, cpu: bool) -> None:
    longest = f", the longest of {found.dataset.tokens} tokens" if found.dataset else ""
    console.print(f"data: {rows} conversations{longest}", highlight=False)
    kind = f"LoRA, rank {recipe.peft.dim}" if recipe.peft else "all weights"
    device = (
        "CPU, by TRL"
        if cpu
        else f"{recipe.distributed.gpus} × {found.gpu.devices[0].name}, by NeMo Automodel"
    )
    console.print(f"training: {kind}, on {device}", highlight=False)


def _train(command: list[str], out: Path, steps: int, console: Console) -> Done:
    """Shows the steps while they come; everything the training says goes to train.log."""
    log, step, loss = out / "train.log", 0, None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with log.open("a", buffering=1) as file, Progress(*columns, console=console) as progress:
        bar = progress.add_task("starting", total=steps)
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(machine.environment()),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for us, who then ask for a last checkpoint
        )
        assert process.stdout is not None  # noqa: S101 - for the type checker
        try:
            for line in process.stdout:
                file.write(line)
                if found := STEP.search(line):
                    step, loss = int(found[1]), float(found[2])
                    progress.update(bar, completed=step, description=f"loss {loss:.4f}")
            status = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            killer = threading.Timer(STOP_S, process.kill)
            killer.start()
            file.writelines(process.stdout)
            killer.cancel()
            console.print("interrupted; the same command goes on from the last checkpoint.")
            raise SystemExit(machine.INTERRUPTED) from None
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    if status:
        reason = machine.last_words(log.read_text(errors="replace"))
        raise StartupError(f"the training ended with status {status}: {reason}", hint=f"See {log}.")
    return Done(out, step or steps, loss)


def as_json(done: Done) -> str:
    return json.dumps({"out": str(done.out), "steps": done.steps, "loss": done.loss})
