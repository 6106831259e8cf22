from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from embedded.triton import repository
from shared.errors import StartupError
from tests.fixtures.brought import STUBBORN, Brought
from tests.fixtures.launch import ROOT

MODELS = ROOT / "models"


def parameters(file: Path) -> dict[str, str]:
    config = text_format.Parse(file.read_text(), model_config_pb2.ModelConfig())
    return {name: value.string_value for name, value in config.parameters.items()}


def test_a_brought_model_is_configured_with_its_own_file_and_template(
    tmp_path: Path, brought: Brought
) -> None:
    served = repository.with_model(MODELS, brought.gguf, tmp_path)
    own = parameters(served / "nova" / "config.pbtxt")
    assert own["model"] == str(brought.gguf)
    assert own["chat_template"].startswith(STUBBORN)
    assert "eos" not in own


def test_all_else_stays_as_it_is(tmp_path: Path, brought: Brought) -> None:
    served = repository.with_model(MODELS, brought.openvino, tmp_path)
    own, original = parameters(served / "nova" / "config.pbtxt"), parameters(MODELS / "nova" / "config.pbtxt")
    changed = {"model", "chat_template", "eos"}
    assert {name: own[name] for name in own.keys() - changed} == {
        name: original[name] for name in original.keys() - changed
    }
    assert {path.name for path in served.iterdir()} == {path.name for path in MODELS.iterdir()}
    assert (served / "nova" / "1").resolve() == MODELS / "nova" / "1"


def test_made_twice_it_is_the_same_folder_and_another_model_has_another(
    tmp_path: Path, brought: Brought
) -> None:
    first = repository.with_model(MODELS, brought.gguf, tmp_path)
    assert repository.with_model(MODELS, brought.gguf, tmp_path) == first
    assert repository.with_model(MODELS, brought.openvino, tmp_path) != first


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, brought: Brought) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match="VOXLOOP_TRITON_CACHE"):
        repository.with_model(MODELS, brought.gguf, tmp_path / "file")
