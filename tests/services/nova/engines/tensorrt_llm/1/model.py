"""The obedient engine with the tensors of TensorRT-LLM's llmapi layout: see ../../obedient.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from obedient import Obedient, TrtllmRequest


class TritonPythonModel(Obedient):
    request_type = TrtllmRequest
