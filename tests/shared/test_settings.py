"""Settings come from the environment, are checked when they are read, and never show a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from shared.auth import accepted
from shared.errors import SettingsError
from shared.settings import Port, Seconds, ServiceSettings, is_loopback, load


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TEST_", extra="ignore", frozen=True)

    http_port: Port = 8010
    deadline_s: Seconds = 2.0


Env = pytest.MonkeyPatch


def refusal(monkeypatch: Env, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(f"TEST_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load(Settings)
    assert caught.value.__cause__ is None, "pydantic's own error would show the values"
    return str(caught.value)


def test_the_defaults_serve_this_machine_alone() -> None:
    settings = load(Settings)
    assert settings.host == "127.0.0.1"
    assert settings.api_keys == ()
    assert not settings.allow_anonymous


def test_variables_have_the_prefix_of_their_service(monkeypatch: Env) -> None:
    monkeypatch.setenv("TEST_HTTP_PORT", "9000")
    monkeypatch.setenv("HTTP_PORT", "9001")
    assert load(Settings).http_port == 9000


def test_a_variable_that_is_there_and_empty_counts_as_not_there(monkeypatch: Env) -> None:
    for name in ("HOST", "HTTP_PORT", "DEADLINE_S", "API_KEYS", "ALLOW_ANONYMOUS", "LOG_LEVEL"):
        monkeypatch.setenv(f"TEST_{name}", "")
    assert load(Settings) == Settings()
    assert load(Settings).host == "127.0.0.1"


def test_settings_do_not_change_while_a_service_runs() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load(Settings).http_port = 1  # type: ignore[misc]


@pytest.mark.parametrize("port", ["-1", "65536", "eighty", "80.5", "0x50"])
def test_a_port_that_is_none_is_refused_by_its_variable(monkeypatch: Env, port: str) -> None:
    told = refusal(monkeypatch, HTTP_PORT=port)
    assert told.startswith("bad settings: TEST_HTTP_PORT: ")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "-inf", "1e999", "soon"])
def test_a_deadline_is_a_finite_time_to_come(monkeypatch: Env, seconds: str) -> None:
    assert "TEST_DEADLINE_S: " in refusal(monkeypatch, DEADLINE_S=seconds)


@pytest.mark.parametrize("level", ["debug", "info", "WARNING", "Error", "critical"])
def test_log_levels_are_those_of_logging(monkeypatch: Env, level: str) -> None:
    monkeypatch.setenv("TEST_LOG_LEVEL", level)
    assert load(Settings).log_level == level


@pytest.mark.parametrize("level", ["loud", "10", " info"])
def test_an_unknown_log_level_is_refused_with_the_known_ones(monkeypatch: Env, level: str) -> None:
    assert "TEST_LOG_LEVEL: must be debug, info," in refusal(monkeypatch, LOG_LEVEL=level)


def test_all_that_is_wrong_is_said_at_once(monkeypatch: Env) -> None:
    told = refusal(monkeypatch, HTTP_PORT="x", DEADLINE_S="nan")
    assert "TEST_HTTP_PORT: " in told
    assert "TEST_DEADLINE_S: " in told


def test_keys_are_separated_by_commas(monkeypatch: Env) -> None:
    monkeypatch.setenv("TEST_API_KEYS", " one, two,,three ,")
    assert [key.get_secret_value() for key in load(Settings).api_keys] == ["one", "two", "three"]


def test_keys_do_not_show(monkeypatch: Env) -> None:
    monkeypatch.setenv("TEST_API_KEYS", "hunter2")
    settings = load(Settings)
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    "key", ["hunter2-schlüssel", "hunter2 three", "hunter2\n3", "hunter2\x7f", "hunter2-\udcff"]
)
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(monkeypatch: Env, key: str) -> None:
    told = refusal(monkeypatch, API_KEYS=key)
    assert "TEST_API_KEYS: a key holds printable ASCII" in told
    assert "hunter2" not in told


@given(st.text(max_size=20))
def test_every_key_that_is_taken_opens_the_door_and_the_empty_one_never_does(key: str) -> None:
    try:
        keys = Settings(api_keys=(key,)).api_keys  # type: ignore[arg-type]
    except ValidationError:
        assert not (key.isascii() and key.isalnum()), "an ordinary key was refused"
        return
    assert accepted(f"Bearer {key}", keys)
    assert not accepted("Bearer ", keys)


LOOPBACK = ["127.0.0.1", "127.0.0.2", "::1", "localhost"]
REACHABLE = [
    "0.0.0.0",
    "::",
    "192.168.1.5",
    "10.0.0.1",
    "fe80::1",
    "example.org",
    "2130706433",
    "127.1",
    "[::1]",
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_loopback_address_needs_no_keys(monkeypatch: Env, host: str) -> None:
    monkeypatch.setenv("TEST_HOST", host)
    assert is_loopback(load(Settings).host)


@pytest.mark.parametrize("host", REACHABLE)
def test_any_other_address_is_refused_without_keys_and_told_which_settings_help(
    monkeypatch: Env, host: str
) -> None:
    assert not is_loopback(host)
    told = refusal(monkeypatch, HOST=host)
    assert f"host {host} is reachable from other machines but TEST_API_KEYS is empty" in told
    assert "TEST_ALLOW_ANONYMOUS=1" in told


@pytest.mark.parametrize(
    "variable",
    [
        ("TEST_API_KEYS", "one"),
        ("TEST_ALLOW_ANONYMOUS", "1"),
        ("TEST_JWT_SECRET", "s" * 32),
        ("TEST_JWT_PUBLIC_KEY", "key.pem"),
    ],
)
def test_any_other_address_is_served_with_keys_or_where_that_is_meant(
    monkeypatch: Env, variable: tuple[str, str]
) -> None:
    monkeypatch.setenv("TEST_HOST", "0.0.0.0")
    monkeypatch.setenv(*variable)
    assert load(Settings).host == "0.0.0.0"


@pytest.mark.parametrize("keys", ["", ",", " , "])
def test_commas_alone_are_no_keys(monkeypatch: Env, keys: str) -> None:
    assert "API_KEYS is empty" in refusal(monkeypatch, HOST="0.0.0.0", API_KEYS=keys)


def test_a_secret_that_could_be_found_by_trying_is_refused_and_not_shown(monkeypatch: Env) -> None:
    told = refusal(monkeypatch, JWT_SECRET="hunter2")
    assert "TEST_JWT_SECRET: must have at least 32 bytes" in told
    assert "hunter2" not in told


def test_a_secret_may_lie_in_a_file_and_the_variable_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "TEST_API_KEYS").write_text("from-a-file\n")
    monkeypatch.setenv("VOXLOOP_SECRETS", str(tmp_path))
    assert [key.get_secret_value() for key in load(Settings).api_keys] == ["from-a-file"]
    monkeypatch.setenv("TEST_API_KEYS", "from-the-variable")
    assert [key.get_secret_value() for key in load(Settings).api_keys] == ["from-the-variable"]
    monkeypatch.setenv("VOXLOOP_SECRETS", str(tmp_path / "nowhere"))
    assert load(Settings).api_keys
