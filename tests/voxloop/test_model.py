"""`voxloop model list` and `use`, and what `voxloop up` makes of the choice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures.brought import Brought
from tests.fixtures.stack import stack_environment
from tests.voxloop.test_model_pull import model
from voxloop import model_state, stack
from voxloop.model_catalog import DEFAULT, aliases

OFF = "http://127.0.0.1:9"
"""No hub is asked here."""


def triton_environment() -> dict[str, str]:
    (unit,) = [unit for unit in stack.from_environment().engines if unit.name == "triton"]
    return dict(unit.env)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in stack_environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("VOXLOOP_MODEL", raising=False)
    return tmp_path


def test_every_alias_is_listed_and_nova_mini_is_in_use_at_first(tmp_path: Path) -> None:
    listed = json.loads(model(tmp_path, OFF, "list", "--json").stdout)
    assert [row["name"] for row in listed["models"]] == [DEFAULT, *aliases()]
    assert [row["name"] for row in listed["models"] if row["in_use"]] == [DEFAULT]
    assert all(row["size_mb"] and row["licence"] for row in listed["models"])


def test_the_table_says_the_same(tmp_path: Path) -> None:
    shown = model(tmp_path, OFF, "list").stdout
    assert all(name in shown for name in aliases())
    assert f"in use: default ({model_state.NOVA_MINI})" in shown


def test_a_model_is_chosen_and_up_starts_triton_with_it(state: Path, brought: Brought) -> None:
    result = model(state, OFF, "use", str(brought.gguf))
    assert result.returncode == 0, result.stderr
    assert triton_environment()["VOXLOOP_MODEL"] == str(brought.gguf)


def test_default_takes_the_choice_back(state: Path, brought: Brought) -> None:
    model(state, OFF, "use", str(brought.openvino))
    assert model(state, OFF, "use", DEFAULT).returncode == 0
    assert "VOXLOOP_MODEL" not in triton_environment()


def test_the_environment_wins_over_the_choice_and_use_says_so(
    state: Path, brought: Brought, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = str(brought.openvino)
    shown = model(state, OFF, "use", str(brought.gguf), VOXLOOP_MODEL=other).stdout
    assert f"VOXLOOP_MODEL is set and wins: {other}" in shown
    monkeypatch.setenv("VOXLOOP_MODEL", other)
    assert triton_environment()["VOXLOOP_MODEL"] == other


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ("qwen2.5-0.5b", "qwen2.5-0.5b is not downloaded. Run `voxloop model pull qwen2.5-0.5b`."),
        ("absent.gguf", "absent.gguf is neither an alias, nor downloaded, nor a file or folder here"),
        (__file__, "is not a GGUF file"),
        (str(Path(__file__).parent), "is not an OpenVINO model: it lacks openvino_model.xml"),
    ],
)
def test_what_cannot_be_served_is_named_at_once_and_not_chosen(
    tmp_path: Path, wanted: str, complaint: str
) -> None:
    result = model(tmp_path, OFF, "use", wanted)
    assert result.returncode == 1
    assert complaint in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not model_state.file_of(tmp_path).exists()


def test_a_chosen_file_that_is_gone_stops_up_with_its_name(
    state: Path, brought: Brought, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.gguf"
    gone.write_bytes(brought.gguf.read_bytes())
    model(state, OFF, "use", str(gone))
    gone.unlink()
    result = model(state, OFF, "check")
    assert result.returncode == 1
    assert f"the model {gone} does not exist" in result.stderr


def test_a_record_that_somebody_broke_is_named(tmp_path: Path) -> None:
    model_state.file_of(tmp_path).write_text("{")
    result = model(tmp_path, OFF, "list")
    assert result.returncode == 1
    assert "models.json: not what `voxloop model` writes" in result.stderr
