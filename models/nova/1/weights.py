"""What a model file says about itself, without loading it."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import BinaryIO

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of the scalar types of GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"""
_STRING, _ARRAY = 8, 9


class BadModel(Exception):
    """The file is missing, damaged, or of a kind that this engine does not read; the message says which."""


def context_length(model: Path) -> int:
    """The most tokens (prompt and answer together) that the model was made for."""
    if model.is_dir():
        return _of_folder(model)
    if not model.is_file():
        raise BadModel(f"the model {model} does not exist")
    try:
        with model.open("rb") as file:
            return _of_gguf(file)
    except (struct.error, UnicodeDecodeError, KeyError, OverflowError, MemoryError):
        raise BadModel(f"{model} is a damaged GGUF file") from None
    except ValueError as error:
        raise BadModel(f"{model} {error}") from None


def _of_folder(folder: Path) -> int:
    try:
        config = json.loads((folder / "config.json").read_text())
        return int(config["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadModel(
            f"{folder} is not an OpenVINO model: config.json does not tell max_position_embeddings ({error})"
        ) from None


def _of_gguf(file: BinaryIO) -> int:
    """Of a file that is all there: of one that is cut short the engine sometimes makes a model of noise."""
    if file.read(4) != b"GGUF":
        raise ValueError("is not a GGUF file")
    version, tensors, entries = struct.unpack("<IQQ", file.read(20))
    if version not in (2, 3):
        raise ValueError(f"is GGUF version {version}; 2 and 3 are read")
    context = None
    for _ in range(entries):
        key = _string(file)
        (kind,) = struct.unpack("<I", file.read(4))
        if key.endswith(".context_length") and kind in _SIZES:
            context = int.from_bytes(file.read(_SIZES[kind]), "little")
        else:
            _skip(file, kind)
    if context is None:
        raise ValueError("does not tell its context length")
    last = max((_tensor_offset(file) for _ in range(tensors)), default=-1)
    if file.tell() + last >= os.fstat(file.fileno()).st_size:
        raise ValueError("is cut short: not all of its weights are there")
    return context


def _tensor_offset(file: BinaryIO) -> int:
    """Where the next tensor's weights begin, in bytes behind all that describes them."""
    _string(file)
    (dimensions,) = struct.unpack("<I", file.read(4))
    file.seek(8 * dimensions + 4, 1)  # sizes and type
    (offset,) = struct.unpack("<Q", file.read(8))
    return int(offset)


def _string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    return file.read(length).decode()


def _skip(file: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        file.seek(struct.unpack("<Q", file.read(8))[0], 1)
    elif kind == _ARRAY:
        item, count = struct.unpack("<IQ", file.read(12))
        if item in _SIZES:
            file.seek(_SIZES[item] * count, 1)
        else:
            for _ in range(count):
                _skip(file, item)
    else:
        file.seek(_SIZES[kind], 1)
