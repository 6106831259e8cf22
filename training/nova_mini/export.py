"""Step 3: the trained weights as a GGUF of the llama architecture, in Q8_0, with all that it takes."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np

from training.nova_mini.chat import END, PAD, TEMPLATE

BLOCK = 32
"""Q8_0 quantizes this many weights of a row together."""


def export(work: Path, target: Path) -> None:
    shape = json.loads((work / "shape.json").read_text())
    tokenizer = json.loads((work / "tokenizer.json").read_text("utf-8"))
    target.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(str(target), "llama")
    add_architecture(writer, shape)
    add_tokenizer(writer, tokenizer)
    with np.load(work / "weights.npz") as weights:
        for name in weights.files:
            add_weight(writer, name.replace("attention.", ""), weights[name].astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


def add_architecture(writer: gguf.GGUFWriter, shape: dict[str, int]) -> None:
    writer.add_name("nova-mini")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_license("apache-2.0")
    writer.add_context_length(shape["context"])
    writer.add_embedding_length(shape["width"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["hidden"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["heads"])
    writer.add_rope_dimension_count(shape["width"] // shape["heads"])
    writer.add_rope_freq_base(shape["rope_base"])
    writer.add_layer_norm_rms_eps(shape["epsilon"])
    writer.add_vocab_size(shape["vocabulary"])


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: dict) -> None:
    model = tokenizer["model"]
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    kinds = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_eos_token_id(special[END])
    writer.add_bos_token_id(special[END])
    writer.add_pad_token_id(special[PAD])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def add_weight(writer: gguf.GGUFWriter, name: str, weight: np.ndarray) -> None:
    if weight.ndim == 2 and weight.shape[1] % BLOCK == 0:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
    else:
        writer.add_tensor(name, weight)
