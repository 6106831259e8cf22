from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import InputError, SettingsError
from voxloop.model_catalog import Alias, Wish, aliases, wish
from voxloop.model_pull import pinned
from voxloop.model_state import Downloaded, Models

COMMIT = "0123456789" * 4
KNOWN = {
    "tiny": Alias(
        repo="somebody/tiny", revision=COMMIT, files=("*.gguf",), size_mb=1, licence="MIT", about="small"
    )
}


def test_an_alias_names_its_repository_revision_and_files() -> None:
    assert wish("tiny", (), KNOWN) == Wish("tiny", "somebody/tiny", COMMIT, ("*.gguf",))


def test_what_is_said_goes_before_what_the_alias_says() -> None:
    assert wish("tiny@main", ("*q4*",), KNOWN) == Wish("tiny", "somebody/tiny", "main", ("*q4*",))


def test_a_repository_stands_for_itself() -> None:
    assert wish("some.body/My_Model", (), KNOWN) == Wish("some.body/My_Model", "some.body/My_Model", None, ())


@pytest.mark.parametrize("text", ["", "huge", "a/b/c", "../x", "tiny@", "a b/c"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        wish(text, (), KNOWN)


def test_the_commit_of_an_earlier_pull_holds_until_another_is_named() -> None:
    had = Downloaded(repo="a/b", revision=COMMIT, patterns=("*q8*",), path=Path("/m.gguf"), files={})
    models = Models(downloaded={"a/b": had})
    assert pinned(Wish("a/b", "a/b", None, ()), models) == Wish("a/b", "a/b", COMMIT, ("*q8*",))
    assert pinned(Wish("a/b", "a/b", "main", ()), models).revision == "main"


def test_the_catalogue_that_is_shipped_is_well_formed() -> None:
    assert aliases()


@pytest.mark.parametrize("text", ["[a", '[a]\nrepo = "x"', '[a]\nrepo = "x/y"\nrevision = "main"'])
def test_a_catalogue_that_an_editor_broke_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "models.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"models\.toml"):
        aliases(file)
