"""From facts to what is printed: exit statuses, JSON, and no secret in any of it."""

from __future__ import annotations

import json
import os
import string
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.fixtures.stack import RunningStack, stack_environment
from tests.voxloop.test_cli import voxloop
from voxloop.doctor.checks import Result, Verdict
from voxloop.doctor.diagnosis import Diagnosis, conceal, secrets
from voxloop.doctor.engines import read_riva_config, wanted_images
from voxloop.doctor.report import show

KEY = "nvapi-0123456789-not-a-real-key"


def result(verdict: Verdict, why: str = "because", do: str = "") -> Result:
    return Result("id", 1, "title", "threshold", verdict, why, do)


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ([], 0),
        ([Verdict.PASS, Verdict.INFO, Verdict.SKIPPED, Verdict.WARNING], 0),
        ([Verdict.PASS, Verdict.CRITICAL], 1),
        ([Verdict.UNKNOWN], 1),
    ],
)
def test_the_status_is_that_of_the_worst(verdicts: list[Verdict], status: int) -> None:
    assert Diagnosis(tuple(map(result, verdicts))).status == status


@given(st.text(string.ascii_letters + string.digits + "-_.[]/", min_size=6), st.text(), st.text())
def test_no_value_of_a_secret_variable_is_ever_shown(secret: str, before: str, after: str) -> None:
    diagnosis = Diagnosis((result(Verdict.CRITICAL, f"{before}{secret}{after}", f"x {secret}"),))
    shown = conceal(diagnosis, secrets({"NOVA_API_KEYS": f"other-key, {secret}"}))
    assert secret not in shown.results[0].why.replace("***", " ")
    assert secret not in shown.results[0].do.replace("***", " ")


def test_markup_in_what_others_say_is_text() -> None:
    console = Console(width=200, record=True, quiet=False)
    show(Diagnosis((result(Verdict.CRITICAL, "said [bold]this[/nonsense]"),)), console)
    assert "[bold]this[/nonsense]" in console.export_text()


def test_secrets_reach_no_output_even_where_a_command_tells_them(
    commands: Callable[[str, str], None], tmp_path: Path
) -> None:
    commands("nvidia-smi", 'echo "bad key $NGC_API_KEY"; exit 9')
    commands("docker", 'echo "unauthorized: $NGC_API_KEY" >&2; exit 1')
    (tmp_path / "voxloop.sh").write_text(f"service_enabled_asr=true\nRIVA_API_KEY={KEY}\n")
    env = {"NGC_API_KEY": KEY, "VOXLOOP_DOCTOR_RIVA_QUICKSTART": str(tmp_path), **stack_environment(tmp_path)}
    for form in ([], ["--json"]):
        ran = voxloop("doctor", *form, env=env | {"PATH": os.environ["PATH"]})
        assert ran.returncode == 1
        assert "status 9: bad key ***" in ran.stdout
        assert KEY not in ran.stdout + ran.stderr


def test_one_phase_in_json(tmp_path: Path) -> None:
    ran = voxloop("doctor", "--phase", "3", "--json", env=stack_environment(tmp_path))
    body = json.loads(ran.stdout)
    assert ran.returncode == body["status"] == 1
    assert {check["phase"] for check in body["checks"]} == {3}
    assert [check["id"] for check in body["checks"]] == ["nova", "sophia", "aurora", "turn"]
    assert all(check["verdict"] == "critical" and check["do"] for check in body["checks"])


def test_the_number_of_gpus_may_be_demanded_on_the_command_line(tmp_path: Path) -> None:
    env = stack_environment(tmp_path) | {"VOXLOOP_DOCTOR_GPUS": "0"}
    ran = voxloop("doctor", "--phase", "1", "--gpus", "99", "--json", env=env)
    found = {check["id"]: check for check in json.loads(ran.stdout)["checks"]}
    assert ran.returncode == 1
    assert found["gpus"]["verdict"] == "critical"
    assert "99" in found["gpus"]["why"]


def test_what_it_cannot_do_is_status_2(tmp_path: Path) -> None:
    assert voxloop("doctor", "--phase", "4").returncode == 2
    ran = voxloop("doctor", env=stack_environment(tmp_path) | {"VOXLOOP_DOCTOR_GPUS": "many"})
    assert ran.returncode == 2
    assert "VOXLOOP_DOCTOR_GPUS" in ran.stderr


def test_it_changes_nothing(tmp_path: Path) -> None:
    voxloop("doctor", env=stack_environment(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_running_stack_is_well(stack: RunningStack) -> None:
    ran = voxloop("doctor", "--phase", "2", "--phase", "3", "--json", env=stack.env)
    checks = {check["id"]: check for check in json.loads(ran.stdout)["checks"]}
    asked = ("triton", "riva", "audio2face", "nova", "sophia", "aurora", "turn")
    assert {name: checks[name]["verdict"] for name in asked} == dict.fromkeys(asked, "pass"), ran.stdout
    assert "Paris" in checks["turn"]["why"]


def test_images_are_those_of_the_compose_file_in_the_versions_of_env(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.triton.yml").write_text(
        "  triton:\n    image: registry.example/triton:${TRITON_TAG:?none}\n    profiles: [vllm]\n"
        "  other:\n    image: registry.example/triton:${OTHER_TAG:?none}\n    profiles: [trtllm]\n"
        "  riva:\n    image: registry.example/riva:${RIVA_TAG:?none}\n    command: [start]\n"
    )
    (tmp_path / ".env.example").write_text(
        "TRITON_TAG=26.09\nOTHER_TAG=1\nRIVA_TAG=2.19.0\nCOMPOSE_PROFILES=vllm,monitoring\n"
    )
    (tmp_path / ".env").write_text('export TRITON_TAG="26.10"\n')
    assert wanted_images(tmp_path / ".env") == (
        "registry.example/triton:26.10",
        "registry.example/riva:2.19.0",
    )


def test_of_rivas_configuration_no_key_is_read(tmp_path: Path) -> None:
    assert read_riva_config(tmp_path) is None
    (tmp_path / "config.sh").write_text(
        f'service_enabled_tts=false\nssl_server_cert=""\n# RIVA_API_KEY=x\nRIVA_API_KEY={KEY}\n'
    )
    (tmp_path / "voxloop.sh").write_text('service_enabled_tts=true\nssl_server_cert="/tls/server.pem"\n')
    config = read_riva_config(tmp_path)
    assert config is not None
    assert config.values == {"service_enabled_tts": "true", "ssl_server_cert": "/tls/server.pem"}
