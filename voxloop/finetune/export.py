"""What came of a fine-tuning, laid down as Triton serves it: for a DGX and for the embedded engine.

    OUT/vllm/nova/config.pbtxt          as models/dgx/vllm, with the model's chat template
    OUT/vllm/nova/1/model.json          the engine's arguments
    OUT/vllm/nova/1/huggingface/        the whole model, its adapter merged
    OUT/model.gguf                      the same in Q8_0, for the embedded Triton

OUT/vllm is a model repository: mounted as /models it serves as it is.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from shared.errors import InputError, StartupError
from voxloop.finetune import machine, run
from voxloop.paths import ROOT

LAYOUT = ROOT / "models" / "dgx" / "vllm" / "nova"
SERVED_AT = "/models/nova/1/huggingface"
"""Where the container that mounts the repository as /models finds the weights."""
CHECKPOINT = re.compile(r"epoch_\d+_step_(\d+)")


def export(tuned: Path, out: Path, *, gguf: bool) -> list[Path]:
    """What was written. Raises InputError where there is nothing, StartupError where a step fails."""
    tuned, out = tuned.absolute(), out.absolute()
    ran, weights = run.read(tuned), _weights(tuned)
    model = out / "vllm" / "nova"
    folder = model / "1" / "huggingface"
    if folder.exists():
        shutil.rmtree(folder)
    python = str(machine.own_python())
    if ran.adapter:
        machine.step([python, "-m", "training.nemo", "merge", ran.base, str(weights), "--out", str(folder)])
    else:
        shutil.copytree(weights, folder)
    template = _template(folder)
    configuration = text_format.Parse((LAYOUT / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())  # type: ignore[attr-defined]
    configuration.parameters["chat_template"].string_value = template
    (model / "config.pbtxt").write_text(text_format.MessageToString(configuration))
    arguments = json.loads((LAYOUT / "1" / "model.json").read_bytes())
    context = json.loads((folder / "config.json").read_bytes())["max_position_embeddings"]
    arguments |= {"model": SERVED_AT, "max_model_len": min(context, arguments["max_model_len"])}
    (model / "1" / "model.json").write_text(json.dumps(arguments, indent=2) + "\n")
    written = [out / "vllm"]
    if gguf:
        file = out / "model.gguf"
        machine.step([python, "-m", "training.nemo", "gguf", str(folder), "--out", str(file)])
        written.append(file)
    return written


def _weights(tuned: Path) -> Path:
    """Of the last checkpoint: an adapter, or a whole model."""
    found = [
        path for path in (tuned / "checkpoints").glob("epoch_*_step_*") if CHECKPOINT.fullmatch(path.name)
    ]
    if not found:
        raise InputError(
            f"{tuned} has no finished checkpoint.", hint="Run `voxloop model finetune` to its end."
        )
    model = max(found, key=lambda path: int(path.name.rpartition("_")[2])) / "model"
    for folder in (model / "consolidated", model):
        if (folder / "adapter_config.json").is_file() or (folder / "config.json").is_file():
            return folder
    raise InputError(f"{model} holds neither an adapter nor a whole model.")


def _template(folder: Path) -> str:
    """Raises StartupError for a model that does not say how it takes a conversation."""
    alone = folder / "chat_template.jinja"
    if alone.is_file():
        return alone.read_text("utf-8")
    template = json.loads((folder / "tokenizer_config.json").read_bytes()).get("chat_template")
    if not isinstance(template, str):
        raise StartupError(f"{folder} has no chat template.")
    return template
