"""What there is to train with, and which conversations do not fit: asked before anything starts."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import warnings
from pathlib import Path
from typing import Any

from training.nemo import chat, recipe


def probe(path: Path, cpu: bool) -> str:
    """One JSON object, read by `voxloop.finetune.machine`."""
    found = {"versions": versions(), "gpu": {} if cpu else gpu()}
    if cpu or found["gpu"]["available"]:
        found["dataset"] = dataset(recipe.load(path))
    return json.dumps(found)


def versions() -> dict[str, str]:
    found = {}
    for name in ("torch", "transformers", "trl", "peft", "nemo_automodel"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def gpu() -> dict[str, Any]:
    """`reason` is what PyTorch says where it finds no GPU: a driver that is too old, say."""
    import torch  # noqa: PLC0415

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    devices = []
    for index in range(torch.cuda.device_count() if available else 0):
        free, total = torch.cuda.mem_get_info(index)
        devices.append(
            {"name": torch.cuda.get_device_name(index), "free_gb": free / 1e9, "total_gb": total / 1e9}
        )
    reason = str(said[-1].message) if said else ""
    if not available and torch.version.cuda is None:
        reason = f"torch {torch.__version__} is a build for the CPU"
    return {"available": available, "reason": reason, "driver": driver(), "devices": devices}


def driver() -> str:
    """Of nvidia-smi; empty where it does not answer."""
    try:
        answer = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],  # noqa: S607 - by PATH, as everywhere
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip().split("\n")[0].strip()


def dataset(given: recipe.Recipe) -> dict[str, Any]:
    """`tokens` of the longest conversation, and the lines of those that do not fit."""
    tokenizer, longest, too_long = recipe.tokenizer_of(given), 0, []
    for line, messages in chat.read(Path(given["dataset"]["path_or_dataset_id"])):
        count = len(chat.encoded(tokenizer, messages)["input_ids"])
        longest = max(longest, count)
        if count > given["dataset"]["seq_length"]:
            too_long.append({"line": line, "tokens": count})
    return {"tokens": longest, "too_long": too_long}
