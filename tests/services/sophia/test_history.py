"""What a conversation remembers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.sophia.history import Call, History, HistoryStore, Message, answer_call


def test_a_reply_of_which_nothing_was_heard_leaves_no_trace() -> None:
    history = History(1000)
    history.user("hello")
    history.assistant("")
    assert history.messages == [Message("user", "hello")]


@given(st.lists(st.tuples(st.booleans(), st.text(min_size=1, max_size=60))))
def test_it_stays_within_its_bound_and_never_opens_with_an_answer(turns: list[tuple[bool, str]]) -> None:
    history = History(100)
    history.user("first")
    for by_user, text in turns:
        history.user(text) if by_user else history.assistant(text)
        assert sum(len(message.content) for message in history.messages) <= 100
        assert len(history.messages) == 1 or history.messages[0].role == "user"


def test_what_was_called_goes_first_and_never_from_behind_its_question() -> None:
    history = History(100)
    history.user("weather?")
    history.add("assistant", "", (Call("1", "weather", "{}", "x" * 200),))
    assert [message.role for message in history.messages] == ["user", "assistant"]
    history.assistant("Sunny.")
    assert history.messages == [Message("user", "weather?"), Message("assistant", "Sunny.")]


def test_an_output_is_put_beside_its_call_once() -> None:
    messages = [Message("assistant", "", (Call("1", "weather", "{}"), Call("2", "time", "{}")))]
    assert answer_call(messages, "2", "noon")
    assert not answer_call(messages, "2", "midnight")
    assert not answer_call(messages, "3", "?")
    assert [call.output for call in messages[0].calls] == [None, "noon"]


def test_a_conversation_is_taken_up_once() -> None:
    store, history = HistoryStore(keep_s=60, max_kept=2), History(100)
    store.keep("token", history)
    assert store.take("token") is history
    assert store.take("token") is None


def test_an_old_conversation_is_gone() -> None:
    store = HistoryStore(keep_s=0, max_kept=2)
    store.keep("token", History(100))
    assert store.take("token") is None


def test_the_store_is_bounded() -> None:
    store = HistoryStore(keep_s=60, max_kept=2)
    for token in ("a", "b", "c"):
        store.keep(token, History(100))
    assert store.take("a") is None
    assert store.take("c") is not None


def test_tokens_cannot_be_guessed() -> None:
    assert len({HistoryStore.new_token() for _ in range(100)}) == 100
    assert len(HistoryStore.new_token()) >= 32
