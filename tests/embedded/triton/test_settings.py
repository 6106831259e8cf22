from __future__ import annotations

from pathlib import Path

import pytest

from embedded.triton.settings import ROOT, TritonSettings
from shared.errors import SettingsError
from shared.settings import load


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TritonSettings.model_fields:
        monkeypatch.delenv(f"VOXLOOP_TRITON_{name.upper()}", raising=False)


def test_by_default_it_is_tritons_ports_on_this_machine_alone() -> None:
    settings = load(TritonSettings)
    assert settings.host == "127.0.0.1"
    assert (settings.http_port, settings.grpc_port, settings.metrics_port) == (8000, 8001, 8002)
    assert (settings.repository, settings.models) == (ROOT / "models", ("nova",))


def test_models_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXLOOP_TRITON_MODELS", "nova, other,")
    assert load(TritonSettings).models == ("nova", "other")


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXLOOP_TRITON_REPOSITORY", "mine")
    assert load(TritonSettings).repository == Path.cwd() / "mine"


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_bad_port_is_named(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("VOXLOOP_TRITON_GRPC_PORT", port)
    with pytest.raises(SettingsError, match="VOXLOOP_TRITON_GRPC_PORT"):
        load(TritonSettings)


def test_other_machines_may_not_come_in_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXLOOP_TRITON_HOST", "0.0.0.0")
    with pytest.raises(SettingsError, match="VOXLOOP_TRITON_ALLOW_ANONYMOUS=1"):
        load(TritonSettings)
    monkeypatch.setenv("VOXLOOP_TRITON_ALLOW_ANONYMOUS", "1")
    assert load(TritonSettings).host == "0.0.0.0"
