"""Where training runs, and whether that place can do what the recipe asks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from shared.errors import InputError, StartupError
from voxloop.finetune.data import refusal
from voxloop.finetune.recipe import Recipe
from voxloop.paths import ROOT

PYTHON = "VOXLOOP_TRAIN_PYTHON"
"""An interpreter with PyTorch, in place of .venv-train or, with GPUs, of the container."""
NEEDED_ON_CPU = ("torch", "transformers", "trl", "peft")
PROBE_S = 900.0
"""A container's first start may load its image; a model's tokenizer may come from the hub."""
INTERRUPTED = 130


@dataclass(frozen=True)
class Place:
    """`prefix` goes before a Python command line; its working directory is the checkout."""

    prefix: tuple[str, ...]
    container: bool

    def python(self, *arguments: str) -> list[str]:
        return [*self.prefix, *arguments]


class TooLong(BaseModel):
    line: int
    tokens: int


class Lengths(BaseModel):
    tokens: int
    too_long: list[TooLong]


class Device(BaseModel):
    name: str
    free_gb: float
    total_gb: float


class Gpu(BaseModel):
    available: bool = False
    reason: str = ""
    driver: str = ""
    devices: list[Device] = []


class Probed(BaseModel):
    """What `python -m training.nemo probe` found."""

    versions: dict[str, str]
    gpu: Gpu
    dataset: Lengths | None = None


def own_python() -> Path:
    """Of the training environment. Raises StartupError where it is not made."""
    python = Path(os.environ.get(PYTHON) or ROOT / ".venv-train" / "bin" / "python").absolute()
    if not python.exists():
        raise StartupError(
            f"there is no training environment ({python} does not exist).", hint="Run `make setup-train`."
        )
    return python


def place(recipe: Recipe, mounts: Sequence[Path], *, cpu: bool) -> Place:
    """The CPU's environment; with GPUs the pinned container, or the Python of VOXLOOP_TRAIN_PYTHON."""
    if cpu or os.environ.get(PYTHON):
        return Place((str(own_python()),), container=False)
    if shutil.which("nvidia-smi") is None:
        raise StartupError(
            "here is no GPU: nvidia-smi is not installed.",
            hint="See `voxloop doctor`, or train on the CPU with `--cpu`.",
        )
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface").absolute()
    docker = [
        *("docker", "run", "--rm", "--gpus", "all", "--ipc", "host", "--workdir", str(ROOT)),
        *("--ulimit", "memlock=-1", "--ulimit", "stack=67108864"),
        *("--user", f"{os.getuid()}:{os.getgid()}", "--env", f"HF_HOME={cache}", "--env", "HF_TOKEN"),
        *("--volume", f"{ROOT}:{ROOT}:ro", "--volume", f"{cache}:{cache}"),
    ]
    for folder in dict.fromkeys(mounts):
        docker += ["--volume", f"{folder}:{folder}"]
    return Place((*docker, "--entrypoint", "python", recipe.voxloop.container), container=True)


def training(recipe: Recipe, where: Place, filled: Path, *, cpu: bool) -> list[str]:
    if cpu:
        return where.python("-m", "training.nemo", "train", str(filled))
    gpus = str(recipe.distributed.gpus)
    return where.python("-m", "nemo_automodel.cli.app", str(filled), "--nproc-per-node", gpus)


def environment() -> Mapping[str, str]:
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }


def step(command: Sequence[str], timeout_s: float | None = None) -> str:
    """Standard output of one that ends soon. Raises StartupError with what it says was wrong."""
    try:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError:
        hint = f"Install it, or name a Python with nemo-automodel by {PYTHON}; `--cpu` tries without GPUs."
        raise StartupError(f"{command[0]} is not installed.", hint=hint) from None
    except subprocess.TimeoutExpired:
        raise StartupError(f"no answer in {timeout_s:g} s from {' '.join(command[-4:])}.") from None
    if ended.returncode:
        raise StartupError(last_words(ended.stderr) or f"{command[0]} ended with status {ended.returncode}.")
    return ended.stdout


def last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("problem: ") if lines else ""


def probe(where: Place, filled: Path, *, cpu: bool) -> Probed:
    arguments = ("-m", "training.nemo", "probe", str(filled), *(("--cpu",) if cpu else ()))
    said = step(where.python(*arguments), PROBE_S)
    try:
        return Probed.model_validate(json.loads(said.splitlines()[-1]))
    except (ValidationError, ValueError, IndexError):
        raise StartupError("the training environment does not answer as it should.") from None


def judge(found: Probed, recipe: Recipe, data: Path, *, cpu: bool) -> None:
    """Raises StartupError for a place that cannot train this recipe, InputError for what does not fit."""
    if not cpu and not found.gpu.available:
        reason = f" ({found.gpu.reason})" if found.gpu.reason else ""
        raise StartupError(
            f"PyTorch finds no GPU{reason}; nvidia-smi {_driver(found.gpu)}.",
            hint="See `voxloop doctor`, or train on the CPU with `--cpu`.",
        )
    needed = NEEDED_ON_CPU if cpu else ("torch", "nemo_automodel")
    if missing := [name for name in needed if name not in found.versions]:
        raise StartupError(
            f"the training environment lacks {', '.join(missing)}.",
            hint="Run `make setup-train`."
            if cpu
            else f"It needs nemo-automodel=={recipe.voxloop.automodel}.",
        )
    if not cpu:
        _judge_gpu(found, recipe)
    lengths = found.dataset
    if lengths and lengths.too_long:
        limit = recipe.dataset.seq_length
        raise refusal(
            data, [f"line {one.line}: {one.tokens} tokens, seq_length is {limit}" for one in lengths.too_long]
        )


def _judge_gpu(found: Probed, recipe: Recipe) -> None:
    gpu, wants, count = found.gpu, recipe.voxloop, recipe.distributed.gpus
    if not gpu.driver:
        raise StartupError("nvidia-smi does not tell the driver's version.", hint="See `voxloop doctor`.")
    if int(gpu.driver.split(".")[0]) < wants.driver:
        raise StartupError(f"the NVIDIA driver is {gpu.driver}; the recipe asks for {wants.driver} or newer.")
    if found.versions["nemo_automodel"] != wants.automodel:
        raise StartupError(
            f"nemo-automodel is {found.versions['nemo_automodel']}; the recipe is for {wants.automodel}."
        )
    if len(gpu.devices) < count:
        raise StartupError(
            f"the recipe asks for {count} GPUs, here are {len(gpu.devices)}.",
            hint="Set distributed.dp_size, and step_scheduler to match.",
        )
    for index, device in enumerate(gpu.devices[:count]):
        if device.free_gb < wants.gpu_memory_gb:
            raise StartupError(
                f"GPU {index} ({device.name}) has {device.free_gb:.0f} of {device.total_gb:.0f} GB free; "
                f"the recipe asks for {wants.gpu_memory_gb:g}."
            )


def _driver(gpu: Gpu) -> str:
    return f"says driver {gpu.driver}" if gpu.driver else "does not answer"


def model_of(recipe: Recipe, given: str) -> str:
    """A folder by its absolute path, else a name of the hub. Raises InputError for a missing path."""
    name = given or recipe.model.pretrained_model_name_or_path
    path = Path(name).expanduser()
    for folder in (path.absolute(), ROOT / path):
        if folder.is_dir():
            return str(folder)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise InputError(f"there is no model folder {name}.", hint="Name one by --model; docs/finetune.md.")
    return name


def as_text(command: Sequence[Any]) -> str:
    return " ".join(str(part) for part in command)
