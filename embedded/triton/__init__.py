"""Embedded Triton: the real tritonserver, out of the wheel nvidia-pytriton, serving `models/`."""
