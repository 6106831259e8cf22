"""Where a reply is cut that was heard in part."""

from __future__ import annotations

import pytest

from tests.web.conftest import Visit


@pytest.mark.parametrize(
    ("text", "spoken", "parts"),
    [
        ("One two three.", "One two", ["One two ", "three."]),
        ("One,  two\nthree.", "One, two", ["One,  two\n", "three."]),
        ("One two.", "", ["", "One two."]),
        ("One two.", "One two.", ["One two.", ""]),
        ("One two.", "One two. And more.", ["One two.", ""]),
    ],
)
async def test_it_is_cut_behind_the_last_word_that_was_heard(
    guest: Visit, text: str, spoken: str, parts: list[str]
) -> None:
    assert await guest.module("conversation.js", f"return it.split({text!r}, {spoken!r});") == parts
