"""How a conversation becomes text: the format that nova-mini is trained on and that its GGUF carries.

`<|system|>…<|end|>` (optional), then `<|user|>…<|end|><|assistant|>…<|end|>` for each turn. `<|end|>` ends a
generation.
"""

from __future__ import annotations

END, USER, ASSISTANT, SYSTEM, PAD = SPECIAL = (
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|pad|>",
)

TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""Jinja, as tokenizers and nova apply it to a list of {role, content}."""


def said(role: str, content: str) -> str:
    return f"<|{role}|>{content}{END}"
