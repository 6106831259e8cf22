"""Triton's Python backend: the tensor contract of its vLLM backend over the engine beside this file.

Where there is a choice this follows triton-inference-server/vllm_backend (src/utils/request.py): the defaults,
the prompt before an answer that is not streamed, "None" as the finish reason of an unfinished one.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import triton_python_backend_utils as pb_utils

from .engine import Down, Engine, Full
from .job import Job
from .metrics import Metrics
from .pipeline import OpenVinoPipeline, Tokens
from .sampling import BadRequest
from .tensors import TritonSink, Wanted, fail, read_request
from .weights import context_length


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        parameters = {
            name: value["string_value"]
            for name, value in json.loads(args["model_config"])["parameters"].items()
        }
        model = Path(__file__).parent / os.environ.get("VOXLOOP_MODEL", parameters["model"])
        threads = int(os.environ.get("VOXLOOP_MODEL_THREADS", parameters["threads"]))
        max_running = int(parameters["max_running"])
        self._context = min(context_length(model), int(parameters["max_context"]))
        self._tokens = Tokens(model)

        def open_pipeline() -> OpenVinoPipeline:
            return OpenVinoPipeline(
                model,
                self._tokens.tokenizer,
                threads=threads,
                max_running=max_running,
                cache_tokens=int(parameters["cache_tokens"]),
            )

        self._engine = Engine(
            open_pipeline,
            Metrics(args["model_name"]).report,
            max_running=max_running,
            max_waiting=int(parameters["max_waiting"]),
        )
        pb_utils.Logger.log_info(f"{model.name}: {self._context} tokens of context, {threads} thread(s)")

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> None:
        """Decoupled: nothing is returned here, every answer goes through the request's sender."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                self._submit(read_request(request), sender)
            except BadRequest as error:
                fail(sender, "bad_request", f"Error generating stream: {error}")
            except (Full, Down) as error:
                fail(sender, "unavailable", f"Error generating stream: {error}")

    def finalize(self) -> None:
        self._engine.close()

    def _submit(self, wanted: Wanted, sender: pb_utils.InferenceResponseSender) -> None:
        prompt = self._tokens.encode(wanted.text)
        if not prompt:
            raise BadRequest("the prompt is empty")
        room = self._context - len(prompt)
        if room <= 0:
            raise BadRequest(
                f"the prompt has {len(prompt)} tokens; this model takes {self._context}, the answer included"
            )
        sampling = replace(wanted.sampling, max_tokens=min(wanted.sampling.max_tokens, room))
        sink = TritonSink(sender, wanted, len(prompt), self._tokens.table)
        self._engine.submit(Job(prompt, sampling, self._tokens.table, sink, stream=wanted.stream))
