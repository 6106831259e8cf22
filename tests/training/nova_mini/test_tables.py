"""The tables are text files that anybody can extend; a mistake in them is named."""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.nova_mini import tables
from training.nova_mini.phrasing import HELD_MARK

INTENT_FILES = ("smalltalk_en.txt", "smalltalk_de.txt", "stories_en.txt", "lists_en.txt")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    yield tmp_path
    for reader in (tables.sections, tables.lines, tables.words, tables.pairs, tables.intents):
        reader.cache_clear()


def test_an_intent_is_its_phrasings_and_their_answer(folder: Path) -> None:
    (folder / "made.txt").write_text("# a comment\nHello.\nHi.\n> Good day.\n\nBye.\n> See you.\n")
    assert tables.intents("made.txt") == (
        tables.Intent(("Hello.", "Hi."), "Good day."),
        tables.Intent(("Bye.",), "See you."),
    )


def test_a_key_that_stands_twice_is_named(folder: Path) -> None:
    (folder / "twice.txt").write_text("[capitals]\nFrance: Paris\nFrance: Lyon\n")
    with pytest.raises(ValueError, match="France stands twice"):
        tables.pairs("twice.txt", "capitals")


@pytest.mark.parametrize("file", INTENT_FILES)
def test_nothing_means_two_things(file: str) -> None:
    phrasings = [phrase for intent in tables.intents(file) for phrase in intent.phrasings]
    bare = [phrase.removeprefix(HELD_MARK).lower().strip(string.punctuation) for phrase in phrasings]
    assert sorted(bare) == sorted(set(bare))


@pytest.mark.parametrize("file", INTENT_FILES)
def test_every_intent_has_a_phrasing_to_train_on(file: str) -> None:
    for intent in tables.intents(file):
        assert any(not phrase.startswith(HELD_MARK) for phrase in intent.phrasings), intent.answer
