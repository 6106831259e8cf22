"""Triton's tensors, as far as language models need them: one row, in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tritonclient.grpc import InferInput

from services.nova.triton_client import PEER
from shared.errors import PeerProtocol


def strings(name: str, values: Sequence[str]) -> InferInput:
    return _input(name, "BYTES", np.array([value.encode() for value in values], dtype=np.object_))


def string(name: str, value: str) -> InferInput:
    return strings(name, (value,))


def flag(name: str, value: bool = True) -> InferInput:
    return _input(name, "BOOL", np.array([value]))


def int32(name: str, value: int) -> InferInput:
    return _input(name, "INT32", np.array([value], np.int32))


def uint64(name: str, value: int) -> InferInput:
    return _input(name, "UINT64", np.array([value], np.uint64))


def fp32(name: str, value: float) -> InferInput:
    return _input(name, "FP32", np.array([value], np.float32))


def _input(name: str, datatype: str, values: np.ndarray[Any, Any]) -> InferInput:
    tensor = InferInput(name, list(values.shape), datatype)  # type: ignore[no-untyped-call]
    tensor.set_data_from_numpy(values)  # type: ignore[no-untyped-call]
    return tensor


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
