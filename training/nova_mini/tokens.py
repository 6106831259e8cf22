"""The tokenizer, byte-level BPE of 1024 tokens in which each digit stands alone, and rows of tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from training.nova_mini.chat import PAD, SPECIAL, said
from training.nova_mini.dialogue import Dialogue

VOCABULARY = 1024
WORDS = r" ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def learn(dialogues: Iterable[Dialogue]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), "isolated"),
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(dialogues), trainer)
    return tokenizer


def texts(dialogues: Iterable[Dialogue]) -> Iterator[str]:
    for dialogue in dialogues:
        for turn in dialogue.turns:
            yield turn.user
            yield turn.answer


def load(path: Path) -> Tokenizer:
    return Tokenizer.from_file(str(path))


@dataclass(frozen=True)
class Packed:
    """Rows of tokens, each holding several whole dialogues one behind the other.

    `tokens` (rows, length) uint16; `learn` (rows, length) bool: the loss counts this token as a target;
    `dialogue` (rows, length) uint8: which of the row's dialogues it belongs to, for the attention's mask.
    """

    tokens: np.ndarray
    learn: np.ndarray
    dialogue: np.ndarray

    def save(self, path: Path) -> None:
        np.savez(path, tokens=self.tokens, learn=self.learn, dialogue=self.dialogue)

    @classmethod
    def load(cls, path: Path) -> Packed:
        with np.load(path) as stored:
            return cls(stored["tokens"], stored["learn"], stored["dialogue"])


def encode(tokenizer: Tokenizer, dialogues: list[Dialogue]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each dialogue's tokens, and which of them are to be learnt: the answers that were not cut off."""
    pieces: list[str] = []
    learnt: list[bool] = []
    ends: list[int] = []
    for dialogue in dialogues:
        if dialogue.system:
            pieces.append(said("system", dialogue.system))
            learnt.append(False)
        for turn in dialogue.turns:
            pieces += (said("user", turn.user) + "<|assistant|>", turn.answer + "<|end|>")
            learnt += (False, not turn.cut)
        ends.append(len(pieces))
    ids = [encoding.ids for encoding in tokenizer.encode_batch(pieces)]
    start, encoded = 0, []
    for end in ends:
        tokens = np.concatenate([np.array(piece, np.uint16) for piece in ids[start:end]])
        learn = np.repeat(learnt[start:end], [len(piece) for piece in ids[start:end]])
        encoded.append((tokens, learn))
        start = end
    return encoded


def pack(tokenizer: Tokenizer, dialogues: list[Dialogue], length: int) -> Packed:
    """Dialogues in their order, a new row where one does not fit; those longer than a row are left out."""
    pad = tokenizer.token_to_id(PAD)
    rows: list[list[tuple[np.ndarray, np.ndarray]]] = []
    free = 0
    for tokens, learn in encode(tokenizer, dialogues):
        if len(tokens) > length:
            continue
        if len(tokens) > free:
            rows.append([])
            free = length
        rows[-1].append((tokens, learn))
        free -= len(tokens)
    packed = Packed(
        np.full((len(rows), length), pad, np.uint16),
        np.zeros((len(rows), length), np.bool_),
        np.full((len(rows), length), 255, np.uint8),
    )
    for i, row in enumerate(rows):
        at = 0
        for j, (tokens, learn) in enumerate(row):
            part = slice(at, at + len(tokens))
            packed.tokens[i, part], packed.learn[i, part], packed.dialogue[i, part] = tokens, learn, j % 255
            at += len(tokens)
    return packed
