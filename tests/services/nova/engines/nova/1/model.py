"""The obedient engine with the tensors of Triton's vLLM backend: see ../../obedient.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from obedient import Obedient, VllmRequest


class TritonPythonModel(Obedient):
    request_type = VllmRequest
