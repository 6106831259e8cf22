"""A recipe: a YAML file in the format of NeMo Automodel 0.7.0, checked key by key.

Only the keys that both ways of training understand (Automodel on GPUs, TRL on a CPU) are taken. `_target_`
names code that Automodel imports, so each is one that we know. What is wrong is named with its line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from shared.errors import InputError

Target = Field(alias="_target_")
NotNegative = Annotated[float, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Wants(_Section):
    """What Voxloop checks before it starts: image and version that the recipe is for, and the GPU."""

    container: Annotated[str, Field(pattern=r"^[\w./-]+:[\w.-]+$")]
    automodel: str
    driver: PositiveInt
    gpu_memory_gb: PositiveFloat


class DistEnv(_Section):
    backend: Literal["nccl", "gloo"]
    timeout_minutes: PositiveInt = 30


class Model(_Section):
    target: Annotated[Literal["nemo_automodel.NeMoAutoModelForCausalLM.from_pretrained"], Target]
    pretrained_model_name_or_path: str
    torch_dtype: Literal["auto", "bfloat16", "float32"] = "bfloat16"
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"


class Distributed(_Section):
    strategy: Literal["fsdp2", "ddp"]
    dp_size: PositiveInt
    tp_size: PositiveInt = 1
    cp_size: PositiveInt = 1
    activation_checkpointing: bool = False

    @property
    def gpus(self) -> int:
        return self.dp_size * self.tp_size * self.cp_size


class StepScheduler(_Section):
    global_batch_size: PositiveInt
    local_batch_size: PositiveInt
    num_epochs: PositiveInt = 1
    max_steps: PositiveInt | None = None
    ckpt_every_steps: PositiveInt = 100


class Optimizer(_Section):
    target: Annotated[Literal["torch.optim.AdamW"], Target]
    lr: PositiveFloat
    betas: Annotated[list[float], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    eps: PositiveFloat = 1e-8
    weight_decay: NotNegative = 0.01


class LrScheduler(_Section):
    lr_decay_style: Literal["cosine", "linear", "constant"] = "cosine"
    lr_warmup_steps: Annotated[int, Field(ge=0)] = 0
    min_lr: NotNegative = 0.0


class ClipGradNorm(_Section):
    max_norm: PositiveFloat


class Checkpoint(_Section):
    enabled: Literal[True] = True
    checkpoint_dir: str | None = None
    model_save_format: Literal["safetensors"] = "safetensors"
    save_consolidated: bool = True


class Dataset(_Section):
    target: Annotated[Literal["nemo_automodel.components.datasets.llm.chat_dataset.ChatDataset"], Target]
    path_or_dataset_id: str | None = None
    split: str = "train"
    seq_length: PositiveInt
    chat_template: str | None = None
    mask_generation_prompt: Literal[True] = True


class Dataloader(_Section):
    target: Annotated[Literal["torchdata.stateful_dataloader.StatefulDataLoader"], Target]
    collate_fn: Literal["nemo_automodel.components.datasets.utils.default_collater"]
    shuffle: bool = True


class Loss(_Section):
    target: Annotated[Literal["nemo_automodel.components.loss.masked_ce.MaskedCrossEntropy"], Target]


class Peft(_Section):
    target: Annotated[Literal["nemo_automodel.components._peft.lora.PeftConfig"], Target]
    target_modules: Annotated[list[Annotated[str, Field(pattern=r"^\*\.\w+$")]], Field(min_length=1)]
    dim: PositiveInt
    alpha: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    use_triton: bool = False


class Recipe(_Section):
    recipe: Literal["TrainFinetuneRecipeForNextTokenPrediction"]
    seed: int
    voxloop: Wants
    dist_env: DistEnv
    model: Model
    distributed: Distributed
    step_scheduler: StepScheduler
    optimizer: Optimizer
    lr_scheduler: LrScheduler | None = None
    clip_grad_norm: ClipGradNorm | None = None
    checkpoint: Checkpoint = Checkpoint()
    dataset: Dataset
    dataloader: Dataloader
    loss_fn: Loss
    peft: Peft | None = None
    """None: every weight is trained."""

    def filled(self, model: str, data: Path, checkpoints: Path) -> str:
        """The YAML that the training reads, with all that the command line adds."""
        body = self.model_dump(by_alias=True, exclude_none=True, exclude={"voxloop"})
        body["model"]["pretrained_model_name_or_path"] = model
        body["dataset"]["path_or_dataset_id"] = str(data)
        body["checkpoint"]["checkpoint_dir"] = str(checkpoints)
        text: str = yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
        return text

    def steps(self, rows: int) -> int:
        """How many updates it takes."""
        all_of_them = self.step_scheduler.num_epochs * -(-rows // self.step_scheduler.global_batch_size)
        return min(all_of_them, self.step_scheduler.max_steps or all_of_them)


def load(path: Path) -> Recipe:
    """Raises InputError that names every key that is wrong, with its line."""
    try:
        text = path.read_text("utf-8")
        tree = yaml.compose(text, yaml.SafeLoader)
        lines = _lines(tree, ()) if tree else {}
        found = Recipe.model_validate(yaml.safe_load(text))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the recipe {path} cannot be read ({_why(error)}).") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{line}: no YAML ({error.problem}).") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: no YAML ({error}).") from None
    except ValidationError as error:
        problems = [_problem(lines, problem) for problem in error.errors(include_url=False)]
        raise InputError(f"{path}: " + "; ".join(problems)) from None
    steps = found.step_scheduler
    if steps.global_batch_size % (steps.local_batch_size * found.distributed.dp_size):
        raise InputError(
            f"{path}: step_scheduler.global_batch_size is no multiple of local_batch_size × dp_size."
        )
    return found


Place = tuple[str | int, ...]


def _lines(node: yaml.Node, place: Place) -> dict[Place, int]:
    """The line of every key. Raises a YAML error for a key that stands twice, which PyYAML lets pass."""
    found: dict[Place, int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*place, str(key.value))
            if here in found:
                raise yaml.MarkedYAMLError(problem=f"{key.value} stands twice", problem_mark=key.start_mark)
            found[here] = key.start_mark.line + 1
            found |= _lines(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            found[*place, index] = item.start_mark.line + 1
    return found


def _problem(lines: dict[Place, int], problem: Any) -> str:
    place: Place = problem["loc"]
    known = next((lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), None)
    said = {
        "extra_forbidden": "this key is not known (for Automodel's other keys run `automodel` itself)",
        "missing": "this key is missing",
    }.get(problem["type"], problem["msg"])
    return f"{f'line {known}: ' if known else ''}{'.'.join(map(str, place)) or 'the recipe'}: {said}"


def _why(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else "it is not UTF-8"
