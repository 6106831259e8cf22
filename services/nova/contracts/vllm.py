"""Triton's vLLM backend: its tensors in and out.

Source: triton-inference-server/vllm_backend, src/model.py, src/utils/request.py and
docs/additional_outputs.md (24.12 and later). Streaming, each response holds the text and the number of
tokens since the one before; `finish_reason` is the text "None" until the last.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson

from services.nova.contracts import Finish, FinishReason, Part, Piece, Prompt, Sampling, tensors
from services.nova.contracts.triton_model import TritonModel
from services.nova.triton_client import PEER
from shared.errors import PeerProtocol

_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "abort": "cancelled"}
_UNFINISHED = "None"

_COUNTS = tuple(
    tensors.flag(name)
    for name in ("return_finish_reason", "return_num_input_tokens", "return_num_output_tokens")
)
_STREAM = (tensors.flag("stream"), *_COUNTS)
_WHOLE = (tensors.flag("stream", False), tensors.flag("exclude_input_in_output"), *_COUNTS)


class VllmContract:
    name = "vllm"
    peer = PEER
    carries_tools = False

    def __init__(self, model: TritonModel) -> None:
        self._model = model

    async def generate(
        self, prompt: Prompt, sampling: Sampling, *, stream: bool
    ) -> AsyncGenerator[Part, None]:
        inputs = (
            tensors.string("text_input", await self._model.text_of(prompt)),
            tensors.string("sampling_parameters", sampling_parameters(sampling)),
            *(_STREAM if stream else _WHOLE),
        )
        finish = None
        async with aclosing(self._model.responses(inputs, stream=stream)) as responses:
            async for response in responses:
                piece, finish = _read(response)
                if piece.text or piece.tokens:
                    yield piece
        if finish is None:
            raise PeerProtocol(PEER, "the stream ended before the answer did")
        yield finish

    async def close(self) -> None:
        await self._model.close()


def sampling_parameters(sampling: Sampling) -> str:
    values: dict[str, Any] = {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature}
    if sampling.top_p is not None:
        values["top_p"] = sampling.top_p
    if sampling.stop:
        values["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        values["seed"] = sampling.seed
    return orjson.dumps(values).decode()


def _read(response: dict[str, bytes]) -> tuple[Piece, Finish | None]:
    piece = Piece(
        tensors.read_string(response, "text_output"), tensors.read_uint32(response, "num_output_tokens")
    )
    reason = tensors.read_string(response, "finish_reason")
    if reason == _UNFINISHED:
        return piece, None
    if reason not in _REASONS:
        raise PeerProtocol(PEER, f"unknown finish reason {reason[:40]!r}")
    return piece, Finish(_REASONS[reason], tensors.read_uint32(response, "num_input_tokens"))
