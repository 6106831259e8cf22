"""Training on the CPU: the same recipe by TRL and PEFT, for trying out and for CI.

Checkpoints to go on from are the trainer's own (`checkpoint-N`); what comes out is laid down where NeMo
Automodel would: `epoch_E_step_S/model`. Progress is printed in Automodel's words, one line a step.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from training.nemo import chat
from training.nemo.problem import Problem
from training.nemo.recipe import Recipe, load, tokenizer_of

STOPPED = 143
"""Exit status after a SIGTERM that was obeyed: a checkpoint lies where the next call goes on."""


class Watch(TrainerCallback):
    """Prints each step, and lets SIGTERM end the training after a step, with a checkpoint."""

    def __init__(self) -> None:
        self.stopped = False
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        self.stopped = True

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> None:
        if self.stopped:
            control.should_save = control.should_training_stop = True

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float], **_: Any) -> None:
        if "loss" in logs:
            print(
                f"step {state.global_step} | epoch {int(state.epoch)} | loss {logs['loss']:.4f}", flush=True
            )


def train(path: Path) -> None:
    recipe = load(path)
    folder = Path(recipe["checkpoint"]["checkpoint_dir"])
    trainer, watch = prepared(recipe, folder)
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    if watch.stopped:
        sys.exit(STOPPED)
    target = folder / f"epoch_{int(trainer.state.epoch)}_step_{trainer.state.global_step}" / "model"
    trainer.save_model(str(target))
    print(f"written {target}", flush=True)


def prepared(recipe: Recipe, folder: Path) -> tuple[SFTTrainer, Watch]:
    torch.manual_seed(recipe["seed"])
    model = recipe["model"]["pretrained_model_name_or_path"]
    tokenizer = tokenizer_of(recipe)
    rows = chat.read(Path(recipe["dataset"]["path_or_dataset_id"]))
    watch = Watch()
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        args=configuration(recipe, folder),
        train_dataset=Dataset.from_list([chat.encoded(tokenizer, messages) for _, messages in rows]),
        processing_class=tokenizer,
        peft_config=adapter(recipe),
        callbacks=[watch],
    )
    return trainer, watch


def configuration(recipe: Recipe, folder: Path) -> SFTConfig:
    steps, optimizer = recipe["step_scheduler"], recipe["optimizer"]
    accumulated, rest = divmod(steps["global_batch_size"], steps["local_batch_size"])
    if rest:
        raise Problem("global_batch_size is no multiple of local_batch_size")
    rates = recipe.get("lr_scheduler", {"lr_decay_style": "constant"})
    style, lowest = rates["lr_decay_style"], rates.get("min_lr", 0.0)
    return SFTConfig(
        output_dir=str(folder),
        max_length=recipe["dataset"]["seq_length"],
        per_device_train_batch_size=steps["local_batch_size"],
        gradient_accumulation_steps=accumulated,
        num_train_epochs=steps.get("num_epochs", 1),
        max_steps=steps.get("max_steps", -1),
        save_steps=steps["ckpt_every_steps"],
        save_total_limit=2,
        learning_rate=optimizer["lr"],
        weight_decay=optimizer.get("weight_decay", 0.01),
        adam_beta1=optimizer.get("betas", (0.9, 0.999))[0],
        adam_beta2=optimizer.get("betas", (0.9, 0.999))[1],
        adam_epsilon=optimizer.get("eps", 1e-8),
        lr_scheduler_type="cosine_with_min_lr" if style == "cosine" else style,
        lr_scheduler_kwargs={"min_lr": lowest} if style == "cosine" else None,
        warmup_steps=rates.get("lr_warmup_steps", 0),
        max_grad_norm=recipe.get("clip_grad_norm", {}).get("max_norm", 1.0),
        seed=recipe["seed"],
        logging_steps=1,
        logging_first_step=True,
        disable_tqdm=True,
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
    )


def adapter(recipe: Recipe) -> LoraConfig | None:
    """None: all weights are trained."""
    given = recipe.get("peft")
    if given is None:
        return None
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=given["dim"],
        lora_alpha=given["alpha"],
        lora_dropout=given.get("dropout", 0.0),
        target_modules=[name.removeprefix("*.") for name in given["target_modules"]],
    )
