"""`voxloop model pull`, against a hub on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from shared.process import free_port
from tests.fixtures.hub import COMMIT, REPO, Hub
from tests.fixtures.launch import ROOT
from tests.voxloop.test_cli import VOXLOOP

SMALL = b"GGUF" + bytes(range(256)) * 40
CHUNK = 10 * 2**20
"""What huggingface_hub writes at a time."""


def environment(state: Path, hub: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return clean | {
        "VOXLOOP_STATE": str(state),
        "HF_ENDPOINT": hub,
        "NO_PROXY": "127.0.0.1",
        "COLUMNS": "300",
        "HOME": str(state),
    }


def model(
    state: Path, hub: str, *arguments: str, stdin: str = "", **extra: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VOXLOOP, "model", *arguments],
        cwd=ROOT,
        env=environment(state, hub) | extra,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def recorded(state: Path) -> dict[str, object]:
    downloaded: dict[str, object] = json.loads((state / "models.json").read_text())["downloaded"][REPO]
    return downloaded


def test_a_gguf_file_is_fetched_checked_and_pinned_to_its_commit(tmp_path: Path, hub: Hub) -> None:
    hub.add("tiny-q8_0.gguf", SMALL)
    hub.add("README.md", b"# Tiny", large=False)
    result = model(tmp_path, hub.url, "pull", REPO, "--yes")
    assert result.returncode == 0, result.stderr
    assert f"{REPO} at {COMMIT}" in result.stdout
    have = recorded(tmp_path)
    assert have["revision"] == COMMIT
    assert have["files"] == {
        "tiny-q8_0.gguf": {"size": len(SMALL), "checksum": hashlib.sha256(SMALL).hexdigest()}
    }
    assert Path(str(have["path"])).read_bytes() == SMALL
    assert Path(str(have["path"])).is_relative_to(tmp_path / "models")
    assert [name for name, _ in hub.gets] == ["tiny-q8_0.gguf"]


def test_an_openvino_folder_comes_with_its_small_files(tmp_path: Path, hub: Hub) -> None:
    hub.add("openvino_model.bin", bytes(5000))
    for name in ("openvino_model.xml", "config.json", "README.md"):
        hub.add(name, name.encode(), large=False)
    assert model(tmp_path, hub.url, "pull", REPO, "--yes").returncode == 0
    folder = Path(str(recorded(tmp_path)["path"]))
    assert {path.name for path in folder.iterdir()} == {
        "openvino_model.bin",
        "openvino_model.xml",
        "config.json",
    }


def test_the_size_is_told_before_anything_is_fetched(tmp_path: Path, hub: Hub) -> None:
    hub.add("tiny.gguf", bytes(2_500_000))
    result = model(tmp_path, hub.url, "pull", REPO, stdin="n\n")
    assert result.returncode == 1
    assert "2.5 MB of 2.5 MB to download" in result.stdout
    assert not hub.gets
    assert not (tmp_path / "models.json").exists()


def test_what_is_here_is_not_fetched_again(tmp_path: Path, hub: Hub) -> None:
    hub.add("tiny.gguf", SMALL)
    assert model(tmp_path, hub.url, "pull", REPO, "--yes").returncode == 0
    again = model(tmp_path, hub.url, "pull", REPO)
    assert again.returncode == 0
    assert "0.0 MB of" in again.stdout
    assert len(hub.gets) == 1


def test_a_connection_lost_in_mid_file_and_then_ctrl_c_cost_no_more_than_a_chunk(
    tmp_path: Path, hub: Hub
) -> None:
    content = os.urandom(CHUNK) + bytes(CHUNK)
    hub.add("big.gguf", content)
    hub.cuts = [CHUNK + CHUNK // 2, 0]  # lost in mid-file, then silent until Ctrl-C
    first = subprocess.Popen(
        [VOXLOOP, "model", "pull", REPO, "--yes"],
        cwd=ROOT,
        env=environment(tmp_path, hub.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    hub.until_gets(2)
    first.send_signal(signal.SIGINT)
    _, complaint = first.communicate(timeout=30)
    assert first.returncode == 130
    assert "goes on where it was" in complaint
    assert "Traceback" not in complaint
    second = model(tmp_path, hub.url, "pull", REPO, "--yes")
    assert second.returncode == 0, second.stderr
    assert f"{CHUNK / 1e6:.1f} MB of {2 * CHUNK / 1e6:.1f} MB to download" in second.stdout
    assert hub.gets == [("big.gguf", ""), *[("big.gguf", f"bytes={CHUNK}-")] * 2]
    assert Path(str(recorded(tmp_path)["path"])).read_bytes() == content


def test_a_file_with_another_checksum_is_removed_and_not_recorded(tmp_path: Path, hub: Hub) -> None:
    hub.add("tiny.gguf", SMALL, told_sha256="ab" * 32)
    result = model(tmp_path, hub.url, "pull", REPO, "--yes")
    assert result.returncode == 1
    assert "tiny.gguf arrived with another checksum" in result.stderr
    assert not (tmp_path / "models.json").exists()
    assert not [path for path in (tmp_path / "models").rglob("*") if "abab" in path.name]


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ("nobody/nothing", "has no model repository nobody/nothing"),
        (f"{REPO}@v9", "has no revision v9"),
        ("qwen9", "there is no alias 'qwen9'"),
        (f"{REPO}@", "where a revision should be named"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(
    tmp_path: Path, hub: Hub, wanted: str, complaint: str
) -> None:
    result = model(tmp_path, hub.url, "pull", wanted, "--yes")
    assert result.returncode == 1
    assert complaint in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("files", "arguments", "complaint"),
    [
        (["a.gguf", "b.gguf"], [], "holds 2 GGUF files: a.gguf, b.gguf. Say which with --file."),
        (["model.safetensors"], [], "holds neither a GGUF file nor an OpenVINO model"),
        (["a.gguf"], ["--file", "*q4*"], "no file of somebody/tiny-gguf matches *q4*"),
    ],
)
def test_a_repository_that_is_not_one_model_is_refused_before_the_download(
    tmp_path: Path, hub: Hub, files: list[str], arguments: list[str], complaint: str
) -> None:
    for name in files:
        hub.add(name, SMALL)
    result = model(tmp_path, hub.url, "pull", REPO, "--yes", *arguments)
    assert result.returncode == 1
    assert complaint in result.stderr
    assert not hub.gets


def test_one_of_several_files_is_taken_by_its_pattern(tmp_path: Path, hub: Hub) -> None:
    hub.add("tiny-q4_0.gguf", SMALL)
    hub.add("tiny-q8_0.gguf", SMALL + b"8")
    assert model(tmp_path, hub.url, "pull", REPO, "--yes", "--file", "*q8_0*").returncode == 0
    assert Path(str(recorded(tmp_path)["path"])).name == "tiny-q8_0.gguf"


def test_without_a_network_one_line_says_so(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    result = model(tmp_path, address, "pull", "qwen2.5-0.5b", "--yes")
    assert result.returncode == 1
    assert f"model hub: {address} does not answer" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_hubs_own_cache_is_used_where_its_variables_name_one(tmp_path: Path, hub: Hub) -> None:
    hub.add("tiny.gguf", SMALL)
    home = tmp_path / "hf"
    assert model(tmp_path, hub.url, "pull", REPO, "--yes", HF_HOME=str(home)).returncode == 0
    assert Path(str(recorded(tmp_path)["path"])).is_relative_to(home / "hub")


def test_what_was_pulled_is_listed_with_its_commit(tmp_path: Path, hub: Hub) -> None:
    hub.add("tiny.gguf", SMALL)
    assert model(tmp_path, hub.url, "pull", REPO, "--yes").returncode == 0
    listed = json.loads(model(tmp_path, hub.url, "list", "--json").stdout)
    (row,) = [row for row in listed["models"] if row["name"] == REPO]
    assert (row["downloaded"], row["revision"], row["in_use"]) == (True, COMMIT, False)
    assert listed["in_use"]["name"] == "default"
