"""Fine-tuning: recipes in the format of NeMo Automodel, and the steps that need an environment with PyTorch.

`voxloop model finetune` and `export` call them, in `.venv-train` (`make setup-train`) or in NVIDIA's
container: `python -m training.nemo probe|train|merge|gguf`. A step that fails says why in its last line.
"""
