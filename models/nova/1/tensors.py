"""Between Triton's tensors and the engine's values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import triton_python_backend_utils as pb_utils

from .job import Fault, Piece
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
    extras: frozenset[str]


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
    extras = frozenset(name for name in EXTRAS if inputs.get(f"return_{name}", False))
    return Wanted(text, stream, parse(parameters), "" if exclude else text, extras)


def fail(
    sender: pb_utils.InferenceResponseSender, fault: Fault | Literal["bad_request"], message: str
) -> None:
    error = pb_utils.TritonError(message, getattr(pb_utils.TritonError, _CODES[fault]))
    sender.send(pb_utils.InferenceResponse(error=error), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


class TritonSink:
    """Sends the pieces of a job as responses to its request."""

    def __init__(
        self,
        sender: pb_utils.InferenceResponseSender,
        wanted: Wanted,
        prompt_tokens: int,
        table: Sequence[bytes],
    ) -> None:
        self._sender = sender
        self._prepend = wanted.prepend
        self._extras = wanted.extras
        self._with_logprobs = wanted.sampling.logprobs is not None
        self._prompt_tokens = prompt_tokens
        self._table = table

    def send(self, pieces: Sequence[Piece], *, final: bool) -> None:
        texts = [(self._prepend + piece.text).encode() for piece in pieces]
        self._prepend = ""
        tensors = [pb_utils.Tensor("text_output", np.array(texts, np.object_))]
        if self._extras:
            tensors += [
                pb_utils.Tensor(name, self._extra(name, pieces)) for name in EXTRAS if name in self._extras
            ]
        self._sender.send(
            pb_utils.InferenceResponse(tensors),
            flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if final else 0,
        )

    def fail(self, fault: Fault, message: str) -> None:
        fail(self._sender, fault, message if fault == "cancelled" else f"Error generating stream: {message}")

    def cancelled(self) -> bool:
        return bool(self._sender.is_cancelled())

    def _extra(self, name: str, pieces: Sequence[Piece]) -> np.ndarray:
        if name == "finish_reason":
            return np.array([str(piece.finish).encode() for piece in pieces], np.object_)
        if name == "cumulative_logprob":
            # Only known where log-probabilities were asked for: NaN otherwise, as vLLM's backend has it.
            return np.array(
                [p.cumulative_logprob if self._with_logprobs else np.nan for p in pieces], np.float32
            )
        if name == "logprobs":
            return np.array([self._logprobs(piece).encode() for piece in pieces], np.object_)
        if name == "num_input_tokens":
            return np.array([self._prompt_tokens], np.uint32)
        return np.array([len(piece.tokens) for piece in pieces], np.uint32)

    def _logprobs(self, piece: Piece) -> str:
        """JSON: for each token {id: {logprob, rank, decoded_token}}. The rank is not known here: null."""
        if not self._with_logprobs:
            return "null"
        return json.dumps(
            [
                {
                    token: {
                        "logprob": logprob,
                        "rank": None,
                        "decoded_token": self._table[token].decode(errors="replace"),
                    }
                }
                for token, logprob in zip(piece.tokens, piece.logprobs, strict=True)
            ]
        )
