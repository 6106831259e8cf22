from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

Options = import_module("models.nova.1.options").Options

GIVEN = {
    "model": "nova-mini.gguf",
    "threads": "1",
    "max_running": "64",
    "max_waiting": "256",
    "max_context": "4096",
    "cache_tokens": "32768",
    "precision": "exact",
    "stall_s": "20",
}


def test_a_model_lies_beside_the_code_unless_its_path_says_otherwise() -> None:
    assert Options.read(GIVEN, {}, Path("/models/nova/1")).model == "/models/nova/1/nova-mini.gguf"
    assert Options.read(GIVEN | {"model": "/data/x.gguf"}, {}, Path("/models/nova/1")).model == "/data/x.gguf"


def test_the_environment_overrides_model_threads_and_precision() -> None:
    environment = {
        "VOXLOOP_MODEL": "/data/mine",
        "VOXLOOP_MODEL_THREADS": "8",
        "VOXLOOP_MODEL_PRECISION": "fast",
    }
    options = Options.read(GIVEN, environment, Path("/models/nova/1"))
    assert (options.model, options.threads, options.precision) == ("/data/mine", 8, "fast")


def test_they_reach_the_other_process_whole() -> None:
    options = Options.read(GIVEN, {}, Path("/models/nova/1"))
    assert Options.from_json(options.to_json()) == options


@pytest.mark.parametrize(
    ("name", "value"), [("threads", "0"), ("threads", "two"), ("max_running", "3"), ("cache_tokens", "")]
)
def test_a_bad_number_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number from .*, not {value!r}"):
        Options.read(GIVEN | {name: value}, {}, Path("/"))


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(ValueError, match="precision must be exact or fast, not 'f64'"):
        Options.read(GIVEN | {"precision": "f64"}, {}, Path("/"))
