from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from embedded.speech.endpoint import WINDOW_MS, Endpointer, EndpointRule, Event

rules = st.builds(
    EndpointRule,
    start_history_ms=st.integers(1, 600),
    start_threshold=st.floats(0.01, 1.0),
    stop_history_ms=st.integers(1, 1500),
    stop_threshold=st.floats(0.01, 1.0),
    pause_ms=st.integers(1, 600),
)
LEGAL_NEXT = {
    None: {Event.STARTED},
    Event.STARTED: {Event.PAUSED, Event.ENDED},
    Event.PAUSED: {Event.RESUMED, Event.ENDED},
    Event.RESUMED: {Event.PAUSED, Event.ENDED},
    Event.ENDED: {Event.STARTED},
}


def events(probabilities: list[float], rule: EndpointRule | None = None) -> list[tuple[int, Event]]:
    """(index of the window, what it changed)."""
    endpointer = Endpointer(rule or EndpointRule())
    pushed = ((index, endpointer.push(value)) for index, value in enumerate(probabilities))
    return [(index, event) for index, event in pushed if event is not None]


def windows(ms: int) -> int:
    return -(-ms // WINDOW_MS)


SPEECH, SILENCE = 0.95, 0.01


@given(rules, st.lists(st.floats(0, 1), max_size=300))
def test_events_come_in_a_legal_order_whatever_is_heard(rule: EndpointRule, heard: list[float]) -> None:
    last = None
    for _, event in events(heard, rule):
        assert event in LEGAL_NEXT[last]
        last = event


@given(rules, st.integers(0, 60))
def test_silence_never_starts_an_utterance(rule: EndpointRule, count: int) -> None:
    assert events([SILENCE] * count, rule) == []


@given(rules)
def test_lasting_speech_starts_one_and_lasting_silence_ends_it(rule: EndpointRule) -> None:
    happened = [event for _, event in events([SPEECH] * 60 + [SILENCE] * 60, rule)]
    assert happened[0] is Event.STARTED
    assert happened[-1] is Event.ENDED


def test_an_utterance_ends_after_stop_history_of_silence() -> None:
    rule = EndpointRule(stop_history_ms=480)
    *_, (index, event) = events([SPEECH] * 20 + [SILENCE] * 30, rule)
    assert (index, event) == (20 + windows(480) - 1, Event.ENDED)


def test_a_click_is_no_speech() -> None:
    assert events([SILENCE] * 10 + [SPEECH] + [SILENCE] * 30) == []


def test_a_short_silence_is_a_pause_that_speech_ends() -> None:
    rule = EndpointRule(pause_ms=160, stop_history_ms=480)
    heard = [SPEECH] * 10 + [SILENCE] * windows(256) + [SPEECH] * 10
    assert [event for _, event in events(heard, rule)] == [Event.STARTED, Event.PAUSED, Event.RESUMED]


def test_a_dip_between_the_two_levels_does_not_count_as_silence() -> None:
    assert [event for _, event in events([SPEECH] * 10 + [0.4] * 40)] == [Event.STARTED]


def test_a_longer_start_history_asks_for_more_speech() -> None:
    rule = EndpointRule(start_history_ms=320, start_threshold=1.0)
    assert events([SPEECH] * 9 + [SILENCE] * 5, rule) == []
    assert events([SPEECH] * 10, rule) == [(9, Event.STARTED)]


def test_an_endless_utterance_is_cut_and_the_next_one_begins_at_once() -> None:
    rule = EndpointRule(longest_ms=3200, start_history_ms=32)
    happened = events([SPEECH] * 250, rule)
    assert [event for _, event in happened] == [Event.STARTED, Event.ENDED] * 2 + [Event.STARTED]
    assert [index for index, _ in happened] == [0, 100, 101, 201, 202]


def test_reset_forgets_the_utterance() -> None:
    endpointer = Endpointer(EndpointRule())
    while endpointer.push(SPEECH) is not Event.STARTED:
        pass
    endpointer.reset()
    assert not endpointer.speaking
    assert all(endpointer.push(SILENCE) is None for _ in range(60))
