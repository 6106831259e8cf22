"""The model repositories for a DGX fit what nova sends, as far as that can be told without one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from services.nova import templates
from services.nova.contracts import Message
from tests.conftest import ROOT

DGX = ROOT / "models" / "dgx"


def config(path: str) -> dict[str, Any]:
    parsed = text_format.Parse((DGX / path).read_text(), model_config_pb2.ModelConfig())
    return json_format.MessageToDict(parsed, preserving_proto_field_name=True)


def tensors(path: str, kind: str) -> dict[str, str]:
    return {tensor["name"]: tensor["data_type"] for tensor in config(path)[kind]}


@pytest.mark.parametrize("path", ["vllm/nova/config.pbtxt", "trtllm/nova/config.pbtxt"])
def test_both_bring_the_chat_template_of_their_model(path: str) -> None:
    render = templates.from_config(config(path))
    assert render((Message("user", "Hi"),)) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_the_vllm_layout_leaves_its_tensors_to_the_backend() -> None:
    found = config("vllm/nova/config.pbtxt")
    assert (found["name"], found["backend"]) == ("nova", "vllm")
    assert found["instance_group"] == [{"count": 1, "kind": "KIND_MODEL"}]
    assert not found.keys() & {"input", "output"}
    assert json.loads((DGX / "vllm/nova/1/model.json").read_text())["model"]


def test_the_tensorrt_llm_layout_has_every_tensor_that_the_contract_uses() -> None:
    obedient = "../../tests/services/nova/engines/tensorrt_llm/config.pbtxt"
    ours, spoken = tensors("trtllm/nova/config.pbtxt", "input"), tensors(obedient, "input")
    assert ours.items() <= spoken.items()
    assert tensors("trtllm/nova/config.pbtxt", "output") == tensors(obedient, "output")
    assert "decoupled: true" in (DGX / "trtllm/nova/1/model.yaml").read_text()
