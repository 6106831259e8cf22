from __future__ import annotations

import pytest

from services.aurora.settings import AuroraSettings
from shared import settings
from shared.errors import SettingsError


def test_a_hosted_audio2face_is_a_matter_of_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "A2F_URI": "face.example:443",
        "A2F_TLS": "1",
        "A2F_API_KEY": "nvapi-x",
        "A2F_FUNCTION_ID": "f-1",
    }.items():
        monkeypatch.setenv(f"AURORA_{name}", value)
    endpoint = settings.load(AuroraSettings).audio2face()
    assert endpoint.host_port == ("face.example", 443)
    assert endpoint.use_tls
    assert endpoint.metadata == (("function-id", "f-1"), ("authorization", "Bearer nvapi-x"))


def test_the_key_stands_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AURORA_A2F_API_KEY", "nvapi-x")
    config = settings.load(AuroraSettings)
    assert "nvapi-x" not in f"{config!r} {config.audio2face()!r}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AHEAD_S", "0"),
        ("VIEWER_QUEUE", "1"),
        ("GRPC_PORT", "70000"),
        ("HOST", "0.0.0.0"),
        ("RECORD_FORMATS", "mp4"),
        ("LIVELINK", "host:x"),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"AURORA_{name}", value)
    with pytest.raises(SettingsError, match="AURORA_"):
        settings.load(AuroraSettings)


def test_outputs_are_lists_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AURORA_RECORD_FORMATS", "usd, csv")
    monkeypatch.setenv("AURORA_LIVELINK", "a.lan, 192.0.2.7:9")
    config = settings.load(AuroraSettings)
    assert config.record_formats == ("usd", "csv")
    assert [str(host) for host in config.livelink_hosts()] == ["a.lan:11111", "192.0.2.7:9"]
