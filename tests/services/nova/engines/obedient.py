"""An engine that costs nothing and obeys its prompt, so that a test can have any fault on the real wire.

    say a|b|c     streams the pieces a, b and c, and stops
    echo          says which sampling parameters came
    count         counts until max_tokens
    forever       counts until cancelled
    hang          says nothing until cancelled
    slow n        says nothing for n steps of 2 ms, then "ok"
    stall         says one piece, and then nothing until cancelled
    half          says one piece and ends without a finish reason
    reason x      ends with the finish reason x
    latin1        answers bytes that are no UTF-8
    bare          answers without the tensors that were asked for
    refuse        an error at once
    full          an error that will pass
    long          vLLM's error for a prompt beyond the context
    break         says one piece, then an error
    die           the whole process ends

Where each response holds the whole text so far, also:

    waver         takes back what it said
    letter        shows a letter before all its bytes are there

Anything else is answered with "ok". Both models of this repository are it, each in its own dialect.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

STEP_S = 0.002

ERRORS = {
    "refuse": ("Error generating stream: temperature is too hot", "INVALID_ARG"),
    "full": ("Error generating stream: the engine is full; try again later", "UNAVAILABLE"),
    "long": (
        "Error generating stream: The decoder prompt is longer than the maximum model length of 8.",
        "INTERNAL",
    ),
}

SO_FAR = {"waver": (b"one", b"two"), "letter": (b"caf", "caf\ufffd".encode(), "café".encode())}


class Request:
    """One generation. `steps` yields what to send next, or None to stay silent for a step."""

    def __init__(self, request: pb_utils.InferenceRequest) -> None:
        self.request = request
        self.sender = request.get_response_sender()
        self.text: str = self.value("text_input", b"").decode()
        self.stream, self.exclude_input, self.parameters = self.read()
        self.steps = self._steps()

    def value(self, name: str, default: Any = None) -> Any:
        tensor = pb_utils.get_input_tensor_by_name(self.request, name)
        return default if tensor is None else tensor.as_numpy().reshape(-1)[0]

    def read(self) -> tuple[bool, bool, dict[str, Any]]:
        """Whether to stream, whether to leave the prompt out of the answer, sampling parameters."""
        raise NotImplementedError

    def response(self, text: bytes, reason: bytes, tokens: int = 1) -> pb_utils.InferenceResponse:
        raise NotImplementedError

    def _steps(self) -> Iterator[pb_utils.InferenceResponse | None]:
        command, _, rest = self.text.partition(" ")
        if command in ERRORS:
            yield error(*ERRORS[command])
        elif command == "latin1":
            yield self.response(b"caf\xe9", b"stop")
        elif command == "bare":
            yield pb_utils.InferenceResponse([pb_utils.Tensor("text_output", strings(b"ok"))])
        elif command == "reason":
            yield self.response(b"ok", rest.encode())
        elif command in {"hang", "stall", "half", "break"}:
            yield from self._faulty(command)
        else:
            yield from self._good(command, rest)

    def _faulty(self, command: str) -> Iterator[pb_utils.InferenceResponse | None]:
        if command != "hang":
            yield self.response(b"one", b"None")
        while command in {"hang", "stall"}:
            yield None
        if command == "break":
            yield error("the engine broke", "INTERNAL")

    def _good(self, command: str, rest: str) -> Iterator[pb_utils.InferenceResponse | None]:
        reason = b"stop"
        if command == "slow":
            for _ in range(int(rest)):
                yield None
        if command == "say":
            pieces = iter(rest.split("|"))
        elif self.text in SO_FAR:
            pieces = iter([""] * len(SO_FAR[self.text]))
        elif command == "echo":
            pieces = iter([json.dumps(self.parameters)])
        elif command in {"count", "forever"}:
            pieces = (f"{n} " for n in range(self.parameters["max_tokens"] if command == "count" else 10**9))
            reason = b"length"
        else:
            pieces = iter(["ok"])
        if command == "forever" and not self.stream:
            while True:
                yield None
        if not self.stream:
            words = list(pieces)
            text = ("" if self.exclude_input else self.text) + "".join(words)
            yield self.response(text.encode(), reason, len(words))
            return
        piece = next(pieces)
        for following in pieces:
            yield self.response(piece.encode(), b"None")
            piece = following
        yield self.response(piece.encode(), reason)


class VllmRequest(Request):
    """The tensors of Triton's vLLM backend: each response holds what is new."""

    def read(self) -> tuple[bool, bool, dict[str, Any]]:
        stream = bool(self.value("stream", False))
        parameters = {"max_tokens": 16} | json.loads(self.value("sampling_parameters", b"{}"))
        return stream, bool(self.value("exclude_input_in_output", stream)), parameters

    def response(self, text: bytes, reason: bytes, tokens: int = 1) -> pb_utils.InferenceResponse:
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("text_output", strings(text)),
                pb_utils.Tensor("finish_reason", strings(reason)),
                pb_utils.Tensor("num_input_tokens", np.asarray(len(self.text.split()), dtype=np.uint32)),
                pb_utils.Tensor("num_output_tokens", np.array([tokens], dtype=np.uint32)),
            ]
        )


class TrtllmRequest(Request):
    """The tensors of TensorRT-LLM's llmapi layout: each response holds all so far."""

    NAMES = ("max_tokens", "temperature", "top_p", "seed", "stop")

    def read(self) -> tuple[bool, bool, dict[str, Any]]:
        self.said = b""
        self.so_far = iter(SO_FAR.get(self.text, ()))
        values = {name: self.value(f"sampling_param_{name}") for name in self.NAMES}
        parameters = {name: value.item() for name, value in values.items() if value is not None}
        exclude = bool(self.value("sampling_param_exclude_input_from_output", False))
        return bool(self.value("streaming", False)), exclude, parameters

    def response(self, text: bytes, reason: bytes, tokens: int = 1) -> pb_utils.InferenceResponse:
        self.said += text
        if self.text in SO_FAR:
            self.said = next(self.so_far)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("text_output", strings(self.said)),
                pb_utils.Tensor("finish_reason", strings(reason)),
            ]
        )


def strings(value: bytes) -> np.ndarray:
    return np.array([value], dtype=np.object_)


def error(message: str, code: str) -> pb_utils.InferenceResponse:
    # TritonError comes into being only after this module is imported.
    return pb_utils.InferenceResponse(
        error=pb_utils.TritonError(message, getattr(pb_utils.TritonError, code))
    )


class Obedient:
    request_type: type[Request]

    def initialize(self, args: dict[str, str]) -> None:
        self.family = pb_utils.MetricFamily(
            name="voxloop_engine_running", description="running", kind=pb_utils.MetricFamily.GAUGE
        )
        self.running = self.family.Metric(labels={"model": args["model_name"]})
        self.active: list[Request] = []
        self.arrived = threading.Condition()
        self.closed = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> None:
        for incoming in requests:
            request = self.request_type(incoming)
            if request.text == "die":
                os._exit(1)
            with self.arrived:
                self.active.append(request)
                self.running.set(len(self.active))
                self.arrived.notify()

    def run(self) -> None:
        while not self.closed:
            with self.arrived:
                self.arrived.wait_for(lambda: self.active or self.closed)
                active = list(self.active)
            done = [request for request in active if not advance(request)]
            with self.arrived:
                self.active = [request for request in self.active if request not in done]
                self.running.set(len(self.active))
                self.arrived.wait_for(lambda: self.closed, STEP_S)

    def finalize(self) -> None:
        with self.arrived:
            self.closed = True
            self.arrived.notify()
        self.thread.join()


def advance(request: Request) -> bool:
    """One step of one generation; False when it is over."""
    if request.sender.is_cancelled():
        request.sender.send(
            error("cancelled", "CANCELLED"), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        )
        return False
    try:
        step = next(request.steps)
    except StopIteration:
        request.sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return False
    if step is not None:
        request.sender.send(step)
    return True
