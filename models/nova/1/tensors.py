"""Between Triton's tensors and the engine's values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from .messages import Fault, Gain
from .sampling import BadRequest, Sampling, parse

EXTRAS = ("finish_reason", "cumulative_logprob", "logprobs", "num_input_tokens", "num_output_tokens")
"""Outputs that a request asks for by an input `return_<name>`."""

_CODES = {
    "bad_request": "INVALID_ARG",
    "cancelled": "CANCELLED",
    "unavailable": "UNAVAILABLE",
    "internal": "INTERNAL",
}
"""Names in pb_utils.TritonError, which the stub puts in place only after it has imported this."""


@dataclass(frozen=True)
class Wanted:
    """A request as it came."""

    text: str
    stream: bool
    sampling: Sampling
    prepend: str
    """What goes before the first piece: the prompt, or nothing."""
    extras: tuple[str, ...]


def read_request(request: pb_utils.InferenceRequest) -> Wanted:
    """Raises BadRequest."""
    inputs = {tensor.name(): tensor.as_numpy().reshape(-1)[0] for tensor in request.inputs()}
    try:
        text = inputs["text_input"].decode()
        parameters = (
            inputs["sampling_parameters"].decode()
            if "sampling_parameters" in inputs
            else request.parameters()
        )
    except UnicodeDecodeError:
        raise BadRequest("text_input and sampling_parameters must be UTF-8") from None
    stream = bool(inputs.get("stream", False))
    exclude = bool(inputs.get("exclude_input_in_output", stream))
    if stream and not exclude:
        raise BadRequest("When streaming, `exclude_input_in_output` = False is not allowed.")
    extras = tuple(name for name in EXTRAS if inputs.get(f"return_{name}", False))
    return Wanted(text, stream, parse(parameters), "" if exclude else text, extras)


def fail(sender: pb_utils.InferenceResponseSender, fault: Fault, message: str) -> None:
    """Ends a request by an error, worded as vLLM's backend words it."""
    text = message if fault == "cancelled" else f"Error generating stream: {message}"
    error = pb_utils.TritonError(text, getattr(pb_utils.TritonError, _CODES[fault]))
    sender.send(pb_utils.InferenceResponse(error=error), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


class TritonSink:
    """Sends what the engine says of a request as responses to it."""

    def __init__(self, sender: pb_utils.InferenceResponseSender, wanted: Wanted) -> None:
        self._sender = sender
        self._prepend = wanted.prepend
        self._extras = wanted.extras
        self._with_logprobs = wanted.sampling.logprobs is not None

    def send(self, gains: Sequence[Gain], prompt_tokens: int, *, final: bool) -> None:
        texts = [(self._prepend + gain.text).encode() for gain in gains]
        self._prepend = ""
        tensors = [pb_utils.Tensor("text_output", np.array(texts, np.object_))]
        tensors += [pb_utils.Tensor(name, self._extra(name, gains, prompt_tokens)) for name in self._extras]
        self._sender.send(
            pb_utils.InferenceResponse(tensors),
            flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if final else 0,
        )

    def fail(self, fault: Fault, message: str) -> None:
        fail(self._sender, fault, message)

    def cancelled(self) -> bool:
        return bool(self._sender.is_cancelled())

    def _extra(self, name: str, gains: Sequence[Gain], prompt_tokens: int) -> NDArray[Any]:
        if name == "finish_reason":
            return np.array([str(gain.finish).encode() for gain in gains], np.object_)
        if name == "cumulative_logprob":
            # Known only where log-probabilities were asked for; otherwise NaN, as vLLM's backend has it.
            return np.array(
                [gain.cumulative_logprob if self._with_logprobs else np.nan for gain in gains], np.float32
            )
        if name == "logprobs":
            return np.array([self._logprobs(gain).encode() for gain in gains], np.object_)
        if name == "num_input_tokens":
            return np.array([prompt_tokens], np.uint32)
        return np.array([gain.tokens for gain in gains], np.uint32)

    def _logprobs(self, gain: Gain) -> str:
        """JSON: {id: {logprob, rank, decoded_token}} for each token. OpenVINO tells no rank: null."""
        if not self._with_logprobs:
            return "null"
        return json.dumps(
            [
                {entry.token: {"logprob": entry.logprob, "rank": None, "decoded_token": entry.text}}
                for entry in gain.logprobs
            ]
        )
