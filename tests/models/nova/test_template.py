from __future__ import annotations

import struct

from jinja2.sandbox import SandboxedEnvironment
from tritonclient.grpc.aio import InferenceServerClient

from tests.fixtures.launch import ROOT
from tests.fixtures.triton import MODEL

WEIGHTS = (ROOT / "models" / "nova" / "1" / "nova-mini.gguf").read_bytes()

CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Who are you?"},
]


async def parameter(client: InferenceServerClient, name: str) -> str:
    config = (await client.get_model_config(MODEL, as_json=True))["config"]
    return str(config["parameters"][name]["string_value"])


async def test_the_template_is_the_one_in_the_weights(triton_client: InferenceServerClient) -> None:
    template = (await parameter(triton_client, "chat_template")).encode()
    assert struct.pack("<Q", len(template)) + template in WEIGHTS


async def test_a_conversation_becomes_the_prompt_that_nova_mini_was_trained_on(
    triton_client: InferenceServerClient,
) -> None:
    template = SandboxedEnvironment().from_string(await parameter(triton_client, "chat_template"))
    end = await parameter(triton_client, "eos")
    assert template.render(messages=CONVERSATION, add_generation_prompt=True) == (
        f"<|system|>Be brief.{end}<|user|>Hello{end}<|assistant|>Hello!{end}"
        f"<|user|>Who are you?{end}<|assistant|>"
    )
