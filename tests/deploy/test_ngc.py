"""The scripts of deploy/ngc, against stand-ins of `ngc`, `docker` and Riva's quickstart on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from shared.process import free_port
from tests.fixtures.launch import ROOT
from tests.fixtures.speech import RivaServer

NGC = """
case "$*" in
*" info "*) echo '{"totalSizeInBytes": 48000000}' ;;
*" download-version "*)
    echo "$*" >> "$CALLS"
    mkdir -p "$6/riva_quickstart_v2.19.0"
    echo "${CONTENT:-whole}" > "$6/riva_quickstart_v2.19.0/config.sh"
    [ -z "$NGC_BREAKS" ] || exit 1 ;;
esac
"""
DOCKER = """
case "$*" in
*"config --images") printf 'voxloop-service:1\\nnvcr.io/nvidia/riva/riva-speech:2.19.0\\n' ;;
"manifest inspect "*) printf '"size": 3000000000,\\n"size": 2000000000\\n' ;;
"image inspect --format "*) echo "nvcr.io/nvidia/riva/riva-speech@${DIGEST:-sha256:aa}" ;;
"image inspect "*) [ -e "$CALLS.pulled" ] ;;
pull*) echo "$*" >> "$CALLS"; touch "$CALLS.pulled" ;;
esac
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, body in {"ngc": NGC, "docker": DOCKER}.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}")
        (tools / name).chmod(0o755)
    return {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}


def sh(script: str, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(ROOT / "deploy" / "ngc" / script), *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def calls(env: dict[str, str]) -> list[str]:
    path = Path(env["CALLS"])
    return path.read_text().splitlines() if path.exists() else []


def test_a_dry_run_shows_sizes_and_fetches_nothing(env: dict[str, str], tmp_path: Path) -> None:
    ran = sh("download.sh", "--dry-run", str(tmp_path / "ngc"), env=env)
    assert ran.stdout.splitlines() == [
        "want  nvidia/riva/riva_quickstart:2.19.0  48 MB",
        "want  nvcr.io/nvidia/riva/riva-speech:2.19.0  5000 MB",
    ], ran.stderr
    assert calls(env) == []
    assert not (tmp_path / "ngc").exists()


def test_what_is_here_is_not_fetched_again(env: dict[str, str], tmp_path: Path) -> None:
    to = str(tmp_path / "ngc")
    first = sh("download.sh", to, env=env)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "ngc" / "riva_quickstart" / "config.sh").read_text() == "whole\n"
    again = sh("download.sh", to, env=env)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("have") == 2
    assert len(calls(env)) == 2


def test_a_broken_download_leaves_nothing_in_place_and_is_taken_up(
    env: dict[str, str], tmp_path: Path
) -> None:
    to = tmp_path / "ngc"
    broken = sh("download.sh", str(to), env=env | {"NGC_BREAKS": "1"})
    assert broken.returncode == 1
    assert "could not fetch nvidia/riva/riva_quickstart" in broken.stderr
    assert not (to / "riva_quickstart_v2.19.0").exists()
    assert sh("download.sh", str(to), env=env).returncode == 0
    assert (to / "riva_quickstart" / "config.sh").read_text() == "whole\n"


def test_a_file_that_was_changed_is_named(env: dict[str, str], tmp_path: Path) -> None:
    to = tmp_path / "ngc"
    assert sh("download.sh", str(to), env=env).returncode == 0
    (to / "riva_quickstart" / "config.sh").write_text("changed")
    ran = sh("download.sh", str(to), env=env)
    assert ran.returncode == 1
    assert "is not what was downloaded" in ran.stderr


def test_a_version_whose_content_changed_is_refused(env: dict[str, str], tmp_path: Path) -> None:
    to = tmp_path / "ngc"
    assert sh("download.sh", str(to), env=env).returncode == 0
    shutil.rmtree(to / "riva_quickstart_v2.19.0")
    other = sh("download.sh", str(to), env=env | {"CONTENT": "other"})
    assert other.returncode == 1
    assert "is not what it was" in other.stderr
    moved = sh("download.sh", str(to), env=env | {"DIGEST": "sha256:bb"})
    assert moved.returncode == 1
    assert "sha256:bb now, but was" in moved.stderr


@pytest.fixture
def quickstart(tmp_path: Path) -> Path:
    """Its scripts, as far as we call them: they read the configuration that they are given."""
    folder = tmp_path / "quickstart"
    folder.mkdir()
    (folder / "config.sh").write_text("service_enabled_tts=false\nssl_server_cert=\nimage=theirs\n")
    for step in ("init", "start", "stop"):
        (folder / f"riva_{step}.sh").write_text(
            f'source "$1"\necho {step} "$service_enabled_asr" "$service_enabled_tts" "$image"\n'
            '[ -s "$ssl_server_cert" ] && [ -s "$ssl_server_key" ]\n'
        )
    return folder


@pytest.fixture
def riva_env(quickstart: Path, tmp_path: Path) -> dict[str, str]:
    own = {"RIVA_QUICKSTART": str(quickstart), "RIVA_MODEL_LOC": str(tmp_path / "models")}
    return {**os.environ, **own, "VOXLOOP_STATE": str(tmp_path / "state")}


def test_riva_starts_with_our_configuration_over_its_own_and_is_checked(
    riva_env: dict[str, str], riva: RivaServer, quickstart: Path
) -> None:
    theirs = (quickstart / "config.sh").read_text()
    assert sh("riva.sh", "configure", env=riva_env).returncode == 0
    assert (quickstart / "config.sh").read_text() == theirs
    assert sh("riva.sh", "init", env=riva_env).stdout == "init true true theirs\n"
    here = {"SOPHIA_RIVA_URI": riva.uri, "SOPHIA_RIVA_CA": str(riva.ca)}
    started = sh("riva.sh", "start", env=riva_env | here)
    assert started.returncode == 0, started.stderr
    assert started.stdout == "start true true theirs\nriva: hears and speaks, over TLS\n"


def test_riva_that_is_not_there_or_not_configured_is_named(riva_env: dict[str, str]) -> None:
    early = sh("riva.sh", "start", env=riva_env)
    assert early.returncode == 1
    assert "riva.sh configure" in early.stderr
    assert sh("riva.sh", "configure", env=riva_env).returncode == 0
    nobody = sh("riva.sh", "check", env=riva_env | {"SOPHIA_RIVA_URI": f"127.0.0.1:{free_port()}"})
    assert nobody.returncode == 1
    assert "riva: " in nobody.stderr


def test_one_certificate_serves_riva_and_audio2face(riva_env: dict[str, str], tmp_path: Path) -> None:
    assert sh("riva.sh", "configure", env=riva_env).returncode == 0
    leaf = x509.load_pem_x509_certificate((tmp_path / "state" / "tls-engines" / "server.pem").read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"riva", "audio2face", "localhost"} <= set(names.get_values_for_type(x509.DNSName))


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck on this machine")
@pytest.mark.parametrize("script", ["download.sh", "riva.sh"])
def test_shellcheck_has_nothing_to_say(script: str) -> None:
    ran = subprocess.run(
        [str(shutil.which("shellcheck")), str(ROOT / "deploy" / "ngc" / script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout == ""
