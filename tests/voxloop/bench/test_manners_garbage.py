"""What broken clients send: the same for a seed, and what is said of each message holds on the wire."""

from __future__ import annotations

import random

import pytest
from websockets.frames import Close, CloseCode
from websockets.protocol import OPEN, SERVER, Protocol

from shared.app import MAX_WS_MESSAGE
from voxloop.bench.manners_fuzz import Visit
from voxloop.bench.manners_garbage import REALTIME, SENTINEL, VOICE, Garbage, Vocabulary, garbage


@pytest.mark.parametrize("words", [VOICE, REALTIME], ids=lambda words: words.path)
def test_a_seed_makes_the_same_messages_of_every_kind(words: Vocabulary) -> None:
    first, again = (
        [garbage(words, rng) for _ in range(1500)]
        for rng in (random.Random(1), random.Random(1))  # noqa: S311
    )
    assert [_known(message) for message in first] == [_known(message) for message in again]
    assert len({message.kind for message in first}) == 8
    assert {message.is_refused for message in first} == {True, False}


def _known(message: Garbage) -> tuple[object, ...]:
    """All but the masks, which are never the same."""
    return message.kind, len(message.wire), message.is_refused, message.ends, message.is_cut


@pytest.mark.parametrize("words", [VOICE, REALTIME], ids=lambda words: words.path)
def test_a_whole_message_is_one_for_a_websocket_and_what_ends_it_is_none(words: Vocabulary) -> None:
    rng = random.Random(2)  # noqa: S311
    for _ in range(1500):
        message = garbage(words, rng)
        server = Protocol(SERVER, state=OPEN, max_size=MAX_WS_MESSAGE)
        server.receive_data(message.wire)
        received = server.events_received()
        if message.is_cut:
            assert not received
        elif message.ends and server.parser_exc is None:  # only half a character is found by who decodes it
            with pytest.raises(UnicodeDecodeError):
                received[0].data.decode()
        else:
            assert (server.parser_exc is not None) == message.ends


@pytest.mark.parametrize("words", [VOICE, REALTIME], ids=lambda words: words.path)
def test_the_last_question_is_refused_on_both_wires(words: Vocabulary) -> None:
    assert words.is_refused(SENTINEL)


@pytest.mark.parametrize(
    ("visit", "unanswered", "is_crash"),
    [
        (Visit("", owed=3, errors=3), 0, False),
        (Visit("", owed=3, errors=1), 2, False),
        (Visit("", owed=3, errors=1, close=Close(CloseCode.POLICY_VIOLATION, "")), 0, False),
        (Visit("", must_close=True), 1, False),
        (Visit("", owed=3, gave_up=True), 0, False),
        (Visit("", owed=3, errors=3, is_lost=True), 0, True),
        (Visit("", close=Close(CloseCode.INTERNAL_ERROR, "")), 0, True),
    ],
)
def test_what_is_owed_and_did_not_come_is_unanswered(visit: Visit, unanswered: int, is_crash: bool) -> None:
    assert (visit.unanswered, visit.is_crash) == (unanswered, is_crash)
