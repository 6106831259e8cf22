"""Triton's tensors, as far as language models need them: one row, in and out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from services.nova.triton_client import PEER, Input
from shared.errors import PeerProtocol


def strings(name: str, values: Sequence[str]) -> Input:
    """Each string as its length in four bytes little-endian, then UTF-8."""
    rows = [value.encode() for value in values]
    return Input(name, "BYTES", b"".join(struct.pack("<I", len(row)) + row for row in rows), len(rows))


def string(name: str, value: str) -> Input:
    return strings(name, (value,))


def flag(name: str, value: bool = True) -> Input:
    return Input(name, "BOOL", struct.pack("<?", value))


def int32(name: str, value: int) -> Input:
    return Input(name, "INT32", struct.pack("<i", value))


def uint64(name: str, value: int) -> Input:
    return Input(name, "UINT64", struct.pack("<Q", value))


def fp32(name: str, value: float) -> Input:
    return Input(name, "FP32", struct.pack("<f", value))


def outputs(response: Any) -> dict[str, bytes]:
    """Each output of a ModelInferResponse by name, as raw bytes; numpy would cost more than the token."""
    return {
        output.name: raw for output, raw in zip(response.outputs, response.raw_output_contents, strict=False)
    }


def read_string(tensors: dict[str, bytes], name: str) -> str:
    """The first element of a BYTES tensor: its length in four bytes little-endian, then UTF-8."""
    raw = _raw(tensors, name)
    end = 4 + int.from_bytes(raw[:4], "little")
    if len(raw) < max(end, 4):
        raise PeerProtocol(PEER, f"the tensor {name} is cut short")
    try:
        return raw[4:end].decode()
    except UnicodeDecodeError:
        raise PeerProtocol(PEER, f"the tensor {name} is not UTF-8") from None


def read_uint32(tensors: dict[str, bytes], name: str) -> int:
    """The first element of a UINT32 tensor, whose shape may also be that of a scalar."""
    raw = _raw(tensors, name)
    if len(raw) < 4:
        raise PeerProtocol(PEER, f"the tensor {name} is cut short")
    return int.from_bytes(raw[:4], "little")


def _raw(tensors: dict[str, bytes], name: str) -> bytes:
    try:
        return tensors[name]
    except KeyError:
        raise PeerProtocol(PEER, f"the model's answer has no tensor {name}") from None
