"""The recipe as `voxloop model finetune` has checked and written it (`voxloop/finetune/recipe.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Recipe = dict[str, Any]


def load(path: Path) -> Recipe:
    return yaml.safe_load(path.read_text("utf-8"))


def tokenizer_of(recipe: Recipe) -> Any:
    """With the recipe's chat template, where it names one. Raises OSError where the model is not found."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - seconds that `probe` does not always need

    tokenizer = AutoTokenizer.from_pretrained(recipe["model"]["pretrained_model_name_or_path"])
    tokenizer.chat_template = recipe["dataset"].get("chat_template") or tokenizer.chat_template
    return tokenizer
