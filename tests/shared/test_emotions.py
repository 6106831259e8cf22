"""The names that all parts agree on."""

from __future__ import annotations

from embedded.face import expression
from shared.emotions import EMOTIONS, NEUTRAL


def test_the_embedded_face_shows_each_of_them_and_no_other() -> None:
    assert tuple(sorted(expression.POSES)) == EMOTIONS
    assert NEUTRAL not in EMOTIONS
