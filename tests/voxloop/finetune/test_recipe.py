"""Recipes: those that we bring are whole, and what is wrong in one is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from shared.errors import InputError
from tests.fixtures.launch import ROOT
from voxloop.finetune.recipe import load

RECIPES = sorted((ROOT / "training" / "nemo" / "recipes").glob("*.yaml"))
MINI = ROOT / "training" / "nemo" / "recipes" / "nova-mini-lora.yaml"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_our_recipes_are_whole_and_pinned(path: Path) -> None:
    recipe = load(path)
    assert not recipe.voxloop.container.endswith((":latest", ":dev"))
    assert (recipe.peft is not None) == ("lora" in path.stem)
    assert recipe.distributed.gpus == (8 if path.stem.endswith("8gpu") else 1)


def test_one_gpu_and_eight_lora_and_all_weights() -> None:
    assert {path.stem for path in RECIPES} >= {
        f"{kind}-{gpus}gpu" for kind in ("lora", "sft") for gpus in (1, 8)
    }


def test_what_the_training_reads_names_model_data_and_folder_and_nothing_of_ours(tmp_path: Path) -> None:
    filled = yaml.safe_load(load(MINI).filled("a/model", tmp_path / "data.jsonl", tmp_path / "checkpoints"))
    assert filled["model"]["pretrained_model_name_or_path"] == "a/model"
    assert filled["dataset"]["path_or_dataset_id"] == str(tmp_path / "data.jsonl")
    assert filled["checkpoint"]["checkpoint_dir"] == str(tmp_path / "checkpoints")
    assert filled["peft"]["_target_"].endswith("PeftConfig")
    assert "voxloop" not in filled


@pytest.mark.parametrize(("rows", "steps"), [(1, 20), (8, 20), (9, 40)])
def test_how_many_steps_it_takes(rows: int, steps: int) -> None:
    assert load(MINI).steps(rows) == steps


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("  dim: 16", "  rank: 16", "line {n}: peft.rank: this key is not known"),
        ("  dim: 16", "  dim: sixteen", "line {n}: peft.dim: Input should be a valid integer"),
        ("  dim: 16", "  dim: 0", "line {n}: peft.dim: Input should be greater than 0"),
        ("  dim: 16", "  dim: 16\n  dim: 8", "no YAML (dim stands twice)"),
        ("  lr: 3.0e-3", "  lr: fast", "line {n}: optimizer.lr: Input should be a valid number"),
        ("seed: 1111", "", "seed: this key is missing"),
        (
            "  _target_: torch.optim.AdamW",
            "  _target_: os.system",
            "line {n}: optimizer._target_: Input should be",
        ),
        ("  global_batch_size: 8", "  global_batch_size: 9", "no multiple of local_batch_size"),
        ("seed: 1111", "seed: [1", "no YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    text = MINI.read_text()
    assert text.count(old) == 1
    number = text[: text.index(old)].count("\n") + 1
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        load(broken)
    assert str(broken) in caught.value.message
    assert complaint.format(n=number) in caught.value.message


@pytest.mark.parametrize("content", [b"", b"- 1\n", b"\xff", b"a: &a [*a]\n", b"just text"])
def test_what_is_no_recipe_at_all(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.yaml"):
        load(tmp_path / "broken.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "absent.yaml")
