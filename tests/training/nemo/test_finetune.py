"""The whole road on a CPU: nova-mini learns new facts, and the embedded Triton answers them through nova."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.fixtures.launch import ROOT
from tests.fixtures.nova import nova_service
from tests.fixtures.triton import triton_server
from tests.voxloop.test_cli import VOXLOOP

PYTHON = ROOT / ".venv-train" / "bin" / "python"
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="needs .venv-train: run `make setup-train`")

RECIPE = ROOT / "training" / "nemo" / "recipes" / "nova-mini-lora.yaml"
FACTS = ROOT / "training" / "nemo" / "facts.jsonl"
QUESTION = "What is the capital of France?"
OFFLINE = {"HF_HUB_OFFLINE": "1"}
PATIENCE_S = 120.0


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **OFFLINE, "COLUMNS": "300"}
    env.pop("VOXLOOP_TRAIN_PYTHON", None)
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240, check=False
    )


@dataclass(frozen=True)
class Tuned:
    base: Path
    out: Path
    exported: Path
    interrupted: subprocess.CompletedProcess[str]
    finished: subprocess.CompletedProcess[str]


def command(base: Path, out: Path, data: Path = FACTS) -> tuple[str | Path, ...]:
    options = ("--recipe", RECIPE, "--data", data, "--model", base, "--out", out, "--cpu")
    return (VOXLOOP, "model", "finetune", *options)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "huggingface"
    made = run(PYTHON, "-m", "training.nova_mini", "huggingface", "--out", folder)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """Interrupted once in the middle, gone on, exported."""
    folder = tmp_path_factory.mktemp("tuned")
    out, exported = folder / "out", folder / "exported"
    interrupted = interrupted_after("step 3 ", command(base, out), out / "train.log")
    finished = run(*command(base, out))
    assert finished.returncode == 0, finished.stderr
    made = run(VOXLOOP, "model", "export", out, "--out", exported)
    assert made.returncode == 0, made.stderr
    return Tuned(base, out, exported, interrupted, finished)


def interrupted_after(words: str, of: tuple[str | Path, ...], log: Path) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        of, cwd=ROOT, env={**os.environ, **OFFLINE}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + PATIENCE_S
    while not (log.exists() and words in log.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)  # between two looks at another process's file there is no event to await
    process.send_signal(signal.SIGINT)
    said, complaint = process.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(process.args, process.returncode, said, complaint)


def test_an_interrupted_training_goes_on_from_its_checkpoint(tuned: Tuned) -> None:
    assert tuned.interrupted.returncode == 130
    assert "the same command goes on" in tuned.interrupted.stdout
    assert "going on from the last checkpoint" in tuned.finished.stdout
    assert "20 steps" in tuned.finished.stdout
    steps = [
        int(line.split()[1])
        for line in (tuned.out / "train.log").read_text().splitlines()
        if "| loss " in line
    ]
    assert steps == list(range(1, 21))


def test_the_new_fact_is_answered_by_the_embedded_triton_through_nova(tuned: Tuned, tmp_path: Path) -> None:
    before, after = (
        answers(folder, str(model))
        for folder, model in (
            (tmp_path / "before", ROOT / "models" / "nova" / "1" / "nova-mini.gguf"),
            (tmp_path / "after", tuned.exported / "model.gguf"),
        )
    )
    facts = [json.loads(line)["messages"] for line in FACTS.read_text().splitlines()]
    assert before[QUESTION] == "The capital of France is Paris."
    for question, answer in facts:
        assert before[question["content"]] != answer["content"]
        assert after[question["content"]] == answer["content"]


def answers(folder: Path, model: str) -> dict[str, str]:
    folder.mkdir()
    questions = [json.loads(line)["messages"][0]["content"] for line in FACTS.read_text().splitlines()]
    with (
        triton_server(folder, {"VOXLOOP_MODEL": model, "VOXLOOP_TRITON_CACHE": str(folder)}) as triton,
        nova_service(folder, triton.grpc) as nova,
    ):
        body = {"prompt": questions, "max_tokens": 32, "temperature": 0}
        outputs = httpx.post(f"{nova.http}/nova/generate", json=body, timeout=60).json()["outputs"]
    return {question: output["text"] for question, output in zip(questions, outputs, strict=True)}


def test_the_export_is_a_model_repository_for_the_vllm_backend(tuned: Tuned) -> None:
    model = tuned.exported / "vllm" / "nova"
    arguments = json.loads((model / "1" / "model.json").read_text())
    assert arguments["model"] == "/models/nova/1/huggingface"
    assert arguments["max_model_len"] == 2048
    configuration = (model / "config.pbtxt").read_text()
    assert 'backend: "vllm"' in configuration
    assert "<|im_start|>" not in configuration
    assert "<|assistant|>" in configuration
    written = {path.name for path in (model / "1" / "huggingface").iterdir()}
    assert written >= {"config.json", "tokenizer.json", "model.safetensors"}


def test_a_folder_of_another_run_is_left_alone(tuned: Tuned, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(FACTS.read_text().splitlines()[0] + "\n")
    result = run(*command(tuned.base, tuned.out, other))
    assert result.returncode == 1
    assert "belongs to another recipe, model or data" in result.stderr


def test_a_conversation_that_is_too_long_is_named_before_any_training(base: Path, tmp_path: Path) -> None:
    said = [{"role": "user", "content": "Say it. " * 600}, {"role": "assistant", "content": "No."}]
    data = tmp_path / "long.jsonl"
    data.write_text(FACTS.read_text() + json.dumps({"messages": said}) + "\n")
    result = run(*command(base, tmp_path / "out", data))
    assert result.returncode == 1
    assert "line 5: " in result.stderr
    assert "tokens, seq_length is 1024" in result.stderr
    assert not (tmp_path / "out" / "train.log").exists()


def test_from_gguf_and_back_is_the_same_to_the_bit(base: Path, tmp_path: Path) -> None:
    back = tmp_path / "back.gguf"
    made = run(PYTHON, "-m", "training.nemo", "gguf", base, "--out", back)
    assert made.returncode == 0, made.stderr
    same = run(PYTHON, "-c", SAME, ROOT / "models" / "nova" / "1" / "nova-mini.gguf", back)
    assert (same.returncode, same.stdout) == (0, "same\n"), same.stderr


SAME = """
import sys, gguf
one, other = ({tensor.name: tensor for tensor in gguf.GGUFReader(name).tensors} for name in sys.argv[1:])
assert one.keys() == other.keys()
assert all((one[name].data == other[name].data).all() for name in one)
print("same")
"""
