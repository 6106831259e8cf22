from __future__ import annotations

import pytest

from shared.phones import TAKEN, TOLD, Phone, Word, said


@pytest.mark.parametrize(
    ("metadata", "is_said"),
    [
        ((TOLD,), True),
        ((("date", "today"), TOLD), True),
        ((TAKEN,), False),
        (((TOLD[0], b"told-in-ms"),), False),
        ((), False),
        (None, False),
    ],
)
def test_a_peer_says_it_in_its_metadata_or_does_not(
    metadata: tuple[tuple[str, str | bytes], ...] | None, is_said: bool
) -> None:
    assert said(TOLD, metadata) is is_said


def test_a_phone_is_no_word() -> None:
    assert Phone(0, 1, "a") != Word(0, 1, "a")
