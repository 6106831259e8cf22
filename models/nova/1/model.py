"""Triton's Python backend: the tensor contract of its vLLM backend over the engine beside this file.

Where there is a choice this follows triton-inference-server/vllm_backend (src/utils/request.py):
the defaults, the prompt before an answer that is not streamed, "None" for an open finish reason.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import triton_python_backend_utils as pb_utils

from .child import Unavailable
from .host import Host
from .metrics import Metrics
from .options import Options
from .sampling import BadRequest
from .tensors import TritonSink, fail, read_request


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        given = json.loads(args["model_config"])["parameters"]
        try:
            options = Options.read(
                {name: value["string_value"] for name, value in given.items()},
                os.environ,
                Path(__file__).parent,
            )
            self._metrics = Metrics(args["model_name"])
            self._host = Host(options, self._metrics.report, pb_utils.Logger.log_warn)
        except (ValueError, Unavailable) as error:
            raise pb_utils.TritonModelException(str(error)) from None
        pb_utils.Logger.log_info(
            f"{options.model}: {self._host.context} tokens of context, {options.threads} thread(s)"
        )

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> None:
        """Decoupled: nothing is returned here, every answer goes through its request's sender."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                wanted = read_request(request)
                sink = TritonSink(sender, wanted)
                self._host.submit(wanted.text, wanted.sampling, sink, stream=wanted.stream)
            except BadRequest as error:
                fail(sender, "bad_request", str(error))
            except Unavailable as error:
                fail(sender, "unavailable", str(error))

    def finalize(self) -> None:
        self._host.close()
        self._metrics.close()
