"""`voxloop model finetune` and `export`: from a recipe and conversations to what Triton serves.

Everything that can be known beforehand is checked here; PyTorch lives in an environment of its own, or in
NVIDIA's container, and is called as `python -m training.nemo …`.
"""
