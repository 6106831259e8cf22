"""`voxloop model check`: the real engine, with models that are not the product's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.errors import StartupError
from tests.fixtures.brought import ANSWER, NOVA_MINI, Brought
from tests.voxloop.test_model_pull import model
from voxloop.model_check import check

OFF = "http://127.0.0.1:9"
"""No hub is asked here."""


@pytest.mark.parametrize("kind", ["gguf", "openvino"])
async def test_a_model_is_asked_in_its_own_chat_template(brought: Brought, kind: str) -> None:
    verdict = await check(getattr(brought, kind), "What is the capital of France?")
    assert verdict.kind == kind
    assert verdict.chat_template
    assert ANSWER in verdict.answer
    assert verdict.tokens > 0
    assert min(verdict.load_s, verdict.first_token_ms, verdict.tokens_per_s, verdict.memory_mb) > 0


def test_without_a_name_the_model_in_use_is_checked(tmp_path: Path, brought: Brought) -> None:
    assert model(tmp_path, OFF, "use", str(brought.gguf)).returncode == 0
    result = model(tmp_path, OFF, "check", "--json")
    assert result.returncode == 0, result.stderr
    verdict = json.loads(result.stdout)
    assert verdict["model"] == str(brought.gguf)
    assert ANSWER in verdict["answer"]


def test_a_damaged_model_fails_with_the_engines_own_reason(tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(NOVA_MINI.read_bytes()[:1_000_000])
    result = model(tmp_path, OFF, "check", str(cut))
    assert result.returncode == 1
    assert f"{cut} does not load: " in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


async def test_what_is_no_model_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"absent\.gguf does not exist"):
        await check(tmp_path / "absent.gguf")
