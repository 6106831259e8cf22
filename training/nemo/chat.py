"""Conversations as tokens, and which of them are learnt: the assistant's words with what ends them.

As nemo_automodel's ChatDataset does with `mask_generation_prompt: true`: what the template puts before an
answer is given at inference, so the loss does not count it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.nemo.problem import Problem

IGNORED = -100
"""The label that PyTorch's cross entropy leaves out."""

Messages = list[dict[str, str]]


def read(path: Path) -> list[tuple[int, Messages]]:
    """Conversations by their line. The file has been checked: `voxloop.finetune.data`."""
    lines = enumerate(path.read_text("utf-8").split("\n"), start=1)
    return [(number, json.loads(line)["messages"]) for number, line in lines if line.strip()]


def rendered(tokenizer: Any, messages: Messages, *, asked: bool = False) -> str:
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asked)


def answers(tokenizer: Any, messages: Messages) -> tuple[str, list[tuple[int, int]]]:
    """The whole text, and where in it the assistant's words stand."""
    whole = rendered(tokenizer, messages)
    spans = []
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            before = rendered(tokenizer, messages[:index], asked=True)
            until = rendered(tokenizer, messages[: index + 1])
            if not (whole.startswith(until) and until.startswith(before)):
                raise Problem(
                    "the model's chat template renders the turns of a conversation differently once others "
                    "follow, so what the assistant said cannot be told apart"
                )
            spans.append((len(before), len(until)))
    return whole, spans


def encoded(tokenizer: Any, messages: Messages) -> dict[str, list[int]]:
    """`input_ids` and `labels`, as trainers take them."""
    text, spans = answers(tokenizer, messages)
    tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    learnt = [any(start <= at < end for start, end in spans) for at, _ in tokens["offset_mapping"]]
    ids = tokens["input_ids"]
    return {
        "input_ids": ids,
        "labels": [index if learn else IGNORED for index, learn in zip(ids, learnt, strict=True)],
    }
