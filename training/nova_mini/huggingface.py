"""nova-mini as a Hugging Face folder: what fine-tuning takes, made from the GGUF that is served.

The reverse of `export`, and exact: Q8_0 → float32 → Q8_0 gives the same bytes back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import save_file

from training.nova_mini.chat import END, PAD, TEMPLATE

LAYER_PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
WORDS = r" ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""As in `tokens`, which learns the tokenizer and needs more than numpy for it."""


def write(source: Path, folder: Path) -> None:
    reader = gguf.GGUFReader(source)
    folder.mkdir(parents=True, exist_ok=True)
    config = configuration(reader)
    save_file(
        dict(weights(reader, config["num_attention_heads"])),
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    tokens = value(reader, "tokenizer.ggml.tokens")
    merges = value(reader, "tokenizer.ggml.merges")
    special = [token for token in tokens if token.startswith("<|") and token.endswith("|>")]
    documents = {
        "config.json": config,
        "generation_config.json": {
            name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")
        },
        "tokenizer.json": tokenizer(tokens, merges, special),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END,
            "pad_token": PAD,
            "model_max_length": config["max_position_embeddings"],
            "clean_up_tokenization_spaces": False,
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", "utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    print(f"{folder}: {sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.1f} MB")


def value(reader: gguf.GGUFReader, key: str) -> Any:
    return reader.fields[key].contents()


def configuration(reader: gguf.GGUFReader) -> dict[str, Any]:
    def of(key: str) -> Any:
        return value(reader, f"llama.{key}")

    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": of("vocab_size"),
        "hidden_size": of("embedding_length"),
        "intermediate_size": of("feed_forward_length"),
        "num_hidden_layers": of("block_count"),
        "num_attention_heads": of("attention.head_count"),
        "num_key_value_heads": of("attention.head_count_kv"),
        "max_position_embeddings": of("context_length"),
        "rms_norm_eps": float(of("attention.layer_norm_rms_epsilon")),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(of("rope.freq_base"))},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "dtype": "float32",
        "bos_token_id": value(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": value(reader, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": value(reader, "tokenizer.ggml.padding_token_id"),
    }


def weights(reader: gguf.GGUFReader, heads: int) -> Iterator[tuple[str, np.ndarray]]:
    for tensor in reader.tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        part = tensor.name.split(".")
        if part[0] != "blk":
            name = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}[part[0]]
        else:
            name = f"model.layers.{part[1]}.{LAYER_PARTS[part[2]]}"
        if part[-2] in ("attn_q", "attn_k"):
            weight = halves(weight, heads)
        yield f"{name}.weight", np.ascontiguousarray(weight)


def halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """GGUF's llama rotates neighboring pairs of a head's dimensions, Hugging Face's its two halves."""
    size = weight.shape[0] // heads
    return weight.reshape(heads, size // 2, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def tokenizer(tokens: list[str], merges: list[str], special: list[str]) -> dict[str, Any]:
    """As `tokenizers` stores the one that `tokens.learn` makes."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    split = {"type": "Split", "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": tokens.index(token), "content": token, **flags} for token in special],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {**split, "pattern": {"Regex": r"\d"}},
                {**split, "pattern": {"Regex": WORDS}},
                level,
            ],
        },
        "post_processor": None,
        "decoder": {**level, "add_prefix_space": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }
