"""nova-mini: the small language model that nova serves where no other is installed.

    dialogues (data) → tokenizer and packed tokens → training → GGUF → evaluation as served

Each step is one command, `python -m training.nova_mini data|train|export|evaluate`, seeded and reproducible.
"""
