"""Tags of emotion: found however the text was cut, and nothing else is taken for one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sophia.emotion_tags import EmotionTags, Tag
from shared.wire.aurora.v1 import aurora_pb2
from tests.services.sophia.conftest import Sophia


def parted(*pieces: str) -> tuple[str, list[tuple[int, str]]]:
    """The text without its tags, and where in it they stood."""
    tags = EmotionTags()
    text, found = "", []
    for part in [part for piece in pieces for part in tags.feed(piece)] + tags.flush():
        if isinstance(part, Tag):
            found.append((len(text), part.name))
        else:
            text += part
    return text, found


def test_a_tag_is_taken_out_where_it_stands() -> None:
    assert parted("[joy] Hello! [Sadness]Bye.") == ("Hello! Bye.", [(0, "joy"), (7, "sadness")])
    assert parted("[joy][anger]: no") == (": no", [(0, "joy"), (0, "anger")])


@pytest.mark.parametrize(
    "text",
    [
        "see [joy](https://example.org) there",
        "item [1] of [a b]",
        "the array[index] grows",
        "[joy",
        "[]",
        "a]",
    ],
)
def test_what_is_no_tag_is_text(text: str) -> None:
    assert parted(text) == (text, [])


def test_a_word_in_brackets_at_the_begin_of_a_sentence_is_an_unknown_tag() -> None:
    assert parted("[laughs] Well. [sighs] Yes [sic] no") == (
        "Well. Yes [sic] no",
        [(0, "laughs"), (6, "sighs")],
    )
    assert not Tag("laughs").known


def test_neutral_is_no_emotion() -> None:
    assert Tag("neutral").known
    assert Tag("neutral").values == {}


@given(st.text("[]( .aejoyJO1\n", max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_where_the_text_is_cut_changes_nothing(text: str, cuts: list[int]) -> None:
    edges = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[a:b] for a, b in pairwise(edges)]
    assert parted(*pieces) == parted(text)


async def test_a_tag_of_a_reply_reaches_the_face_before_its_clause_and_is_not_spoken(sophia: Sophia) -> None:
    sophia.engines.nova.answer = ["Well, so it is. [jo", "y] That is good news!"]
    async with sophia.session(animation=True) as client:
        await client.send(type="text", text="hello")
        done = await client.until("reply.done", "error")
    assert done["text"] == "Well, so it is. That is good news!"
    assert sophia.engines.synthesis.spoken == ["Well, so it is.", "That is good news!"]
    assert {"joy": 1.0} in _emotions(sophia)


async def test_an_emotion_that_there_is_not_is_named_once_and_costs_nothing(sophia: Sophia) -> None:
    sophia.engines.nova.answer = ["[laughs] Very well. [laughs] Indeed so."]
    async with sophia.session(animation=True) as client:
        await client.send(type="text", text="hello")
        await client.until("reply.done")
    assert [(e["code"], "[laughs]" in e["message"]) for e in client.of("error")] == [
        ("unknown_emotion", True)
    ]
    assert sophia.engines.synthesis.spoken == ["Very well.", "Indeed so."]
    assert client.of("animation")


async def test_a_session_may_begin_in_an_emotion(sophia: Sophia) -> None:
    async with sophia.session(animation=True, emotion="joy") as client:
        await client.send(type="text", text="hello")
        await client.until("reply.done")
    assert sophia.engines.aurora.requests[0].start.emotions.values == {"joy": 1.0}


def _emotions(sophia: Sophia) -> list[dict[str, float]]:
    requests: list[aurora_pb2.AnimateRequest] = sophia.engines.aurora.requests
    return [dict(r.emotions.values) for r in requests if r.WhichOneof("part") == "emotions"]
