"""Triton's TensorRT-LLM in its llmapi layout: its tensors in and out.

Source: NVIDIA/TensorRT-LLM, triton_backend/all_models/llmapi/tensorrt_llm (config.pbtxt, 1/model.py,
1/helpers.py). Three things differ from the vLLM backend. Streaming, `text_output` is the whole text so far.
Tokens are not counted. And `sampling_param_stop` reaches the engine as numpy bytes, which its tokenizer does
not take: stop strings are left to us.

`triton_config.decoupled` must be true in its model.yaml, or it refuses to stream.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from services.nova.contracts import Finish, FinishReason, Part, Piece, Prompt, Sampling, tensors
from services.nova.contracts.triton_model import TritonModel
from services.nova.triton_client import PEER
from shared.errors import PeerProtocol

_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "cancelled": "cancelled"}
_UNFINISHED = "None"

_ASKED = (tensors.flag("sampling_param_exclude_input_from_output"), tensors.flag("return_finish_reason"))


class TrtllmContract:
    name = "trtllm"
    peer = PEER
    carries_tools = False

    def __init__(self, model: TritonModel) -> None:
        self._model = model

    async def generate(
        self, prompt: Prompt, sampling: Sampling, *, stream: bool
    ) -> AsyncGenerator[Part, None]:
        inputs = [
            tensors.string("text_input", await self._model.text_of(prompt)),
            tensors.flag("streaming", stream),
            tensors.int32("sampling_param_max_tokens", sampling.max_tokens),
            tensors.fp32("sampling_param_temperature", sampling.temperature),
            *_ASKED,
        ]
        if sampling.top_p is not None:
            inputs.append(tensors.fp32("sampling_param_top_p", sampling.top_p))
        if sampling.seed is not None:
            inputs.append(tensors.uint64("sampling_param_seed", sampling.seed))
        said, reason = "", _UNFINISHED
        async with aclosing(self._model.responses(inputs, stream=stream)) as responses:
            async for response in responses:
                text = tensors.read_string(response, "text_output")
                reason = tensors.read_string(response, "finish_reason")
                if reason == _UNFINISHED:
                    text = text.rstrip("\ufffd")  # a letter of which not all bytes are there yet
                if not text.startswith(said):
                    raise PeerProtocol(PEER, "the text so far is not what it was before")
                if len(text) > len(said):
                    yield Piece(text[len(said) :], tokens=1 if stream else 0)
                    said = text
        if reason == _UNFINISHED:
            raise PeerProtocol(PEER, "the stream ended before the answer did")
        if reason not in _REASONS:
            raise PeerProtocol(PEER, f"unknown finish reason {reason[:40]!r}")
        yield Finish(_REASONS[reason])

    async def close(self) -> None:
        await self._model.close()
