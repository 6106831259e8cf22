"""The validation list, against the real stack and against nothing at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.process import free_port
from tests.fixtures.stack import RunningStack, stack_environment
from tests.voxloop.test_cli import voxloop
from voxloop.smoke import Checklist, Point, Tick


@pytest.fixture
def nobody() -> list[str]:
    where = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    return ["--grafana", where[0], "--prometheus", where[1]]


def test_every_pipeline_of_a_running_stack_is_ticked(
    stack: RunningStack, tmp_path: Path, nobody: list[str]
) -> None:
    ran = voxloop("smoke", "--json", "--out", str(tmp_path), *nobody, env=stack.env)
    points = {point["id"]: point for point in json.loads(ran.stdout)["points"]}
    ours = ("riva", "triton", "audio2face", "services", "nova", "tts", "aurora", "turn")
    assert {name: points[name]["tick"] for name in ours} == dict.fromkeys(ours, "done"), ran.stdout
    assert points["grafana"]["tick"] == points["prometheus"]["tick"] == "not applicable"
    assert "Paris" in points["nova"]["why"]
    assert json.loads((tmp_path / "smoke.json").read_text())["points"] == list(points.values())
    assert "- [x] **nova answers a question**" in (tmp_path / "smoke.md").read_text()


def test_with_nothing_running_no_box_is_ticked_for_it(tmp_path: Path, nobody: list[str]) -> None:
    (tmp_path / "state").mkdir()
    ran = voxloop("smoke", "--out", str(tmp_path), *nobody, env=stack_environment(tmp_path / "state"))
    assert ran.returncode == 1
    text = (tmp_path / "smoke.md").read_text()
    for title in ("nova answers a question", "Riva speaks", "aurora animates speech", "Triton answers"):
        assert f"- [ ] **{title}" in text
    assert "  - to do: " in text


def test_a_box_that_does_not_apply_says_so_and_is_no_failure() -> None:
    checklist = Checklist(
        (Point("a", "A", Tick.NOT_HERE, "no GPU\nhere"), Point("b", "B", Tick.DONE, "good"))
    )
    assert checklist.status == 0
    assert "- [ ] **A**: does not apply here: no GPU here\n- [x] **B**: good" in checklist.markdown()
