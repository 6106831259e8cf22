"""Step 1: conversations from the generator, the tokenizer learnt from them, packed rows to train on."""

from __future__ import annotations

import os
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from training.nova_mini import tokens
from training.nova_mini.dialogue import Dialogue, conversation

SHARD = 10_000
"""Dialogues made from one seed; what they are does not depend on the number of processes."""
LENGTH = 1024
"""Tokens in a row: the longest conversation that is trained."""


def dialogues(seed: int, count: int) -> list[Dialogue]:
    rng = random.Random(seed)
    return [conversation(rng) for _ in range(count)]


def packed_shard(work: Path, seed: int) -> tokens.Packed:
    return tokens.pack(tokens.load(work / "tokenizer.json"), dialogues(seed, SHARD), LENGTH)


def prepare(work: Path, seed: int, shards: int) -> None:
    work.mkdir(parents=True, exist_ok=True)
    tokens.learn(dialogues(seed, SHARD)).save(str(work / "tokenizer.json"))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        parts = list(pool.map(packed_shard, [work] * shards, range(seed + 1, seed + 1 + shards)))
    names = ("tokens", "learn", "dialogue")
    packed = tokens.Packed(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    packed.save(work / "rows.npz")
    print(
        f"{shards * SHARD} dialogues, {len(packed.tokens)} rows, {int((packed.dialogue < 255).sum())} tokens"
    )
