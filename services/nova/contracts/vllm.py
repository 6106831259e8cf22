"""Triton's vLLM backend: its tensors in and out.

Source: triton-inference-server/vllm_backend, src/model.py, src/utils/request.py and
docs/additional_outputs.md (24.12 and later). Streaming, each response holds the text and the number of
tokens since the one before; `finish_reason` is the text "None" until the last.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson

from services.nova.contracts import Finish, FinishReason, Piece, Prompt, Sampling, tensors
from services.nova.templates import ModelTemplate
from services.nova.triton_client import PEER, TritonClient
from shared.errors import InputError, PeerProtocol, PeerRefused, PeerUnavailable

_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "abort": "cancelled"}
_UNFINISHED = "None"

_TOO_LONG = re.compile(
    r"(?i)prompt.*(longer than|exceeds|this model takes)|maximum (context|model) length|max_model_len"
)
"""A prompt beyond the context is told from other failures by words alone."""

_COUNTS = tuple(
    tensors.flag(name)
    for name in ("return_finish_reason", "return_num_input_tokens", "return_num_output_tokens")
)
_STREAM = (tensors.flag("stream"), *_COUNTS)
_WHOLE = (tensors.flag("stream", False), tensors.flag("exclude_input_in_output"), *_COUNTS)


class VllmContract:
    name = "vllm"
    peer = PEER

    def __init__(self, client: TritonClient, model: str) -> None:
        self._client = client
        self._model = model
        self._template = ModelTemplate(client, model)

    async def generate(
        self, prompt: Prompt, sampling: Sampling, *, stream: bool
    ) -> AsyncGenerator[Piece | Finish, None]:
        text = await self._template.text_of(prompt)
        inputs = (
            tensors.string("text_input", text),
            tensors.string("sampling_parameters", sampling_parameters(sampling)),
            *(_STREAM if stream else _WHOLE),
        )
        finish = None
        try:
            async with aclosing(self._client.infer_stream(self._model, inputs)) as responses:
                async for response in responses:
                    piece, finish = _read(response)
                    if piece.text or piece.tokens:
                        yield piece
        except PeerUnavailable:
            self._template.forget()
            raise
        except PeerRefused as error:
            if _TOO_LONG.search(error.message):
                raise InputError("the prompt is longer than the model's context") from None
            raise
        if finish is None:
            raise PeerProtocol(PEER, "the stream ended before the answer did")
        yield finish

    async def close(self) -> None:
        await self._client.close()


def sampling_parameters(sampling: Sampling) -> str:
    values: dict[str, Any] = {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature}
    if sampling.top_p is not None:
        values["top_p"] = sampling.top_p
    if sampling.stop:
        values["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        values["seed"] = sampling.seed
    return orjson.dumps(values).decode()


def _read(response: Any) -> tuple[Piece, Finish | None]:
    values = tensors.outputs(response)
    piece = Piece(
        tensors.read_string(values, "text_output"), tensors.read_uint32(values, "num_output_tokens")
    )
    reason = tensors.read_string(values, "finish_reason")
    if reason == _UNFINISHED:
        return piece, None
    if reason not in _REASONS:
        raise PeerProtocol(PEER, f"unknown finish reason {reason[:40]!r}")
    return piece, Finish(_REASONS[reason], tensors.read_uint32(values, "num_input_tokens"))
