"""A Hugging Face folder as one GGUF file in Q8_0: what the embedded Triton loads.

Of the architectures that its engine builds from GGUF (`embedded/triton/model_file.py`), with a byte-level BPE
tokenizer. Names of tensors come from the `gguf` library's own table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors import safe_open

from training.nemo.problem import Problem

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}
BLOCK = 32
"""Q8_0 quantizes this many weights of a row together."""


def to_gguf(folder: Path, out: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    check(folder, config)
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.part")
    writer = gguf.GGUFWriter(unfinished, config["model_type"], use_temp_file=True)
    add_architecture(writer, config, out.stem)
    add_tokenizer(writer, folder, tokenizer, config)
    for name, weight in tensors(folder, config):
        if weight.ndim == 2 and weight.shape[1] % BLOCK == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.replace(out)
    print(f"written {out}: {out.stat().st_size / 1e6:.1f} MB")


def check(folder: Path, config: dict[str, Any]) -> None:
    """Raises Problem for what the engine would load wrongly, or not at all."""
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        raise Problem(
            f"{folder} is of the architecture {kind}; the embedded engine reads {', '.join(ARCHITECTURES)}"
        )
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", "default") != "default":
        raise Problem(
            f"{folder} stretches its positions ({rope['rope_type']}), which this export does not write"
        )
    if not (folder / "tokenizer.json").is_file():
        raise Problem(f"{folder} has no tokenizer.json")


def add_architecture(writer: gguf.GGUFWriter, config: dict[str, Any], name: str) -> None:
    heads, width = config["num_attention_heads"], config["hidden_size"]
    size = config.get("head_dim") or width // heads
    rope = config.get("rope_parameters") or config
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(width)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads", heads))
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def add_tokenizer(
    writer: gguf.GGUFWriter, folder: Path, tokenizer: dict[str, Any], config: dict[str, Any]
) -> None:
    model = tokenizer["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        raise Problem(f"the tokenizer of {folder} is no byte-level BPE, the one kind that this export writes")
    added = {token["id"]: token for token in tokenizer["added_tokens"]}
    names = {index: token for token, index in model["vocab"].items()}
    names |= {index: token["content"] for index, token in added.items()}
    tokens, kinds = [], []
    for index in range(config["vocab_size"]):  # a model may have more rows than its tokenizer has tokens
        tokens.append(names.get(index, f"[PAD{index}]"))
        if index not in names:
            kinds.append(gguf.TokenType.UNUSED)
        elif index in added:
            special = added[index]["special"]
            kinds.append(gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED)
        else:
            kinds.append(gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitting(tokenizer, config))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    special = gguf.SpecialVocab(folder, load_merges=True, n_vocab=len(tokens))
    special.add_special_token.setdefault("bos", False)
    template = folder / "chat_template.jinja"
    if template.is_file():
        special.chat_template = template.read_text("utf-8")
    special.add_to_gguf(writer, quiet=True)


def splitting(tokenizer: dict[str, Any], config: dict[str, Any]) -> str:
    """GGUF's name for the way a text is split before its pieces are looked up."""
    if config["model_type"].startswith("qwen"):
        return "qwen2"
    return (
        "llama-bpe"
        if r"\p{N}{1,3}" in json.dumps(tokenizer["pre_tokenizer"]).replace("\\\\", "\\")
        else "default"
    )


def tensors(folder: Path, config: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    names = gguf.get_tensor_name_map(ARCHITECTURES[config["model_type"]], config["num_hidden_layers"])
    heads = config["num_attention_heads"]
    groups = {"q_proj": heads, "k_proj": config.get("num_key_value_heads", heads)}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for theirs in weights.keys():  # noqa: SIM118 - no mapping, though it looks like one
                if theirs == "lm_head.weight" and config.get("tie_word_embeddings"):
                    continue
                ours = names.get_name(theirs, try_suffixes=(".weight", ".bias"))
                if ours is None:
                    raise Problem(f"{file} has the tensor {theirs}, which GGUF has no name for")
                weight = weights.get_tensor(theirs).to(torch.float32).numpy()
                part = theirs.split(".")[-2]
                if config["model_type"] == "llama" and part in groups:
                    weight = pairs(weight, groups[part])
                yield ours, weight


def pairs(weight: np.ndarray, heads: int) -> np.ndarray:
    """Hugging Face's llama rotates the two halves of a head's dimensions, GGUF's neighboring pairs."""
    size = weight.shape[0] // heads
    return weight.reshape(heads, 2, size // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
