"""What a machine lacks is said before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import InputError, StartupError, VoxloopError
from tests.fixtures.launch import ROOT
from tests.voxloop.test_cli import voxloop
from voxloop.finetune import machine
from voxloop.finetune.machine import Device, Gpu, Lengths, Probed, TooLong
from voxloop.finetune.recipe import load

RECIPE = load(ROOT / "training" / "nemo" / "recipes" / "lora-8gpu.yaml")
H100 = Device(name="H100", free_gb=79, total_gb=80)
GOOD = Gpu(available=True, driver="580.95.05", devices=[H100] * 8)
VERSIONS = {"torch": "2.13.0", "nemo_automodel": "0.7.0"}


def test_a_dgx_will_do() -> None:
    found = Probed(versions=VERSIONS, gpu=GOOD, dataset=Lengths(tokens=9, too_long=[]))
    machine.judge(found, RECIPE, Path("data.jsonl"), cpu=False)


@pytest.mark.parametrize(
    ("versions", "gpu", "complaint"),
    [
        (
            VERSIONS,
            Gpu(reason="the driver is too old"),
            r"no GPU \(the driver is too old\); nvidia-smi does not",
        ),
        (VERSIONS, Gpu(driver="580.1"), r"no GPU; nvidia-smi says driver 580\.1.*`--cpu`"),
        ({"torch": "2"}, GOOD, r"lacks nemo_automodel.*nemo-automodel==0\.7\.0"),
        (VERSIONS | {"nemo_automodel": "0.4.0"}, GOOD, r"nemo-automodel is 0\.4\.0"),
        (VERSIONS, GOOD.model_copy(update={"driver": "535.1"}), r"driver is 535\.1; .* 550 or newer"),
        (VERSIONS, GOOD.model_copy(update={"driver": ""}), "does not tell the driver"),
        (VERSIONS, GOOD.model_copy(update={"devices": [H100]}), "asks for 8 GPUs, here are 1"),
        (
            VERSIONS,
            GOOD.model_copy(update={"devices": [H100] * 7 + [Device(name="H100", free_gb=3, total_gb=80)]}),
            r"GPU 7 \(H100\) has 3 of 80 GB free; the recipe asks for 40",
        ),
    ],
)
def test_what_is_lacking_is_named(versions: dict[str, str], gpu: Gpu, complaint: str) -> None:
    with pytest.raises(StartupError, match=complaint):
        machine.judge(Probed(versions=versions, gpu=gpu), RECIPE, Path("data.jsonl"), cpu=False)


def test_what_is_too_long_is_named_by_line() -> None:
    versions = dict.fromkeys(machine.NEEDED_ON_CPU, "1")
    found = Probed(
        versions=versions, gpu=Gpu(), dataset=Lengths(tokens=9000, too_long=[TooLong(line=7, tokens=9000)])
    )
    with pytest.raises(InputError, match="line 7: 9000 tokens, seq_length is 2048"):
        machine.judge(found, RECIPE, Path("data.jsonl"), cpu=True)


def test_eight_gpus_train_in_the_pinned_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(machine.PYTHON, raising=False)
    (tmp_path / "nvidia-smi").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    where = machine.place(RECIPE, [tmp_path], cpu=False)
    command = machine.training(RECIPE, where, tmp_path / "recipe.yaml", cpu=False)
    assert command[:5] == ["docker", "run", "--rm", "--gpus", "all"]
    assert f"{tmp_path}:{tmp_path}" in command
    at = command.index(RECIPE.voxloop.container)
    assert command[at - 2 : at] == ["--entrypoint", "python"]
    assert command[at + 1 :] == [
        *("-m", "nemo_automodel.cli.app", str(tmp_path / "recipe.yaml"), "--nproc-per-node", "8")
    ]


def test_without_a_gpu_it_refuses_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(machine.PYTHON, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartupError, match=r"nvidia-smi is not installed.*`--cpu`"):
        machine.place(RECIPE, [], cpu=False)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (["/nowhere/python"], "/nowhere/python is not installed"),
        (["sh", "-c", "echo problem: it is so >&2; exit 1"], "it is so"),
        (["sh", "-c", "exit 3"], "sh ended with status 3"),
        (["sleep", "60"], "no answer in 0.1 s"),
    ],
)
def test_a_step_that_fails_says_why(command: list[str], complaint: str) -> None:
    with pytest.raises(VoxloopError, match=complaint):
        machine.step(command, timeout_s=0.1 if command[0] == "sleep" else 60)


def test_a_missing_environment_says_how_to_make_it(tmp_path: Path) -> None:
    files = ("--recipe", "training/nemo/recipes/nova-mini-lora.yaml", "--data", "training/nemo/facts.jsonl")
    env = {machine.PYTHON: str(tmp_path / "python")}
    result = voxloop(
        *("model", "finetune", *files, "--model", str(tmp_path), "--cpu", "--out", str(tmp_path / "out")),
        env=env,
    )
    assert result.returncode == 1
    assert "Run `make setup-train`" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
