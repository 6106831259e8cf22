"""What the model is given: never more than it can hold, and always the newest words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.sophia.context import MESSAGE_TOKENS, MIN_QUESTION_TOKENS, Context
from services.sophia.history import Call, Message
from services.sophia.settings import SophiaSettings

CONTEXT = Context(tokens=500, answer_tokens=100)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
conversations = st.lists(st.tuples(st.booleans(), texts), min_size=1)


def spoken(turns: list[tuple[bool, str]]) -> list[Message]:
    """A conversation, whose newest message is the user's."""
    messages = [Message("user" if by_user else "assistant", text) for by_user, text in turns]
    return [*messages[:-1], Message("user", messages[-1].content)]


def most_tokens(messages: list[Message]) -> int:
    """By the most wasteful tokenizer there can be: one for each byte, and a template around each message."""
    return sum(len(message.content.encode()) + MESSAGE_TOKENS for message in messages)


@given(texts.filter(CONTEXT.takes) | st.just(""), conversations)
def test_it_never_overflows(system: str, turns: list[tuple[bool, str]]) -> None:
    messages = CONTEXT.fit(system, spoken(turns))
    assert most_tokens(messages) + MESSAGE_TOKENS + CONTEXT.answer_tokens <= CONTEXT.tokens


@given(conversations)
def test_the_newest_words_stay_and_no_answer_comes_without_its_question(
    turns: list[tuple[bool, str]],
) -> None:
    conversation = spoken(turns)
    messages = CONTEXT.fit("", conversation)
    assert messages[0].role == "user"
    assert conversation[-1].content.endswith(messages[-1].content)
    assert messages[:-1] == conversation[:-1][len(conversation) - len(messages) :]


calls = st.builds(Call, st.just("123456789"), st.just("weather"), st.just("{}"), texts | st.none())
rounds = st.lists(st.builds(Message, st.just("assistant"), texts, st.tuples(calls) | st.tuples(calls, calls)))


@given(texts, rounds.filter(bool), st.just("") | texts)
def test_with_calls_it_does_not_overflow_either_and_keeps_their_question(
    question: str, rounds: list[Message], tools: str
) -> None:
    context = Context(tokens=2000, answer_tokens=100)
    messages = context.fit("", [Message("user", question), *rounds], tools)
    calls = [call for message in messages for call in message.calls]
    outputs = "".join(call.name + call.id + call.arguments + (call.output or "") for call in calls)
    most = most_tokens(messages) + len(outputs.encode()) + (len(calls) + 1) * MESSAGE_TOKENS
    assert most + len(tools.encode()) + 100 <= 2000
    assert messages[0].role == "user"
    assert [call.id for call in messages[-1].calls] == [call.id for call in rounds[-1].calls]


def test_of_an_output_that_is_too_long_the_beginning_stays() -> None:
    called = Message("assistant", "", (Call("1", "weather", "{}", "sunny " * 200),))
    question, answer = CONTEXT.fit("", [Message("user", "weather?"), called])
    assert question.content == "weather?"
    assert (answer.calls[0].output or "").startswith("sunny sunny")
    assert len(answer.calls[0].output or "") < 400


def test_a_short_conversation_is_given_whole_behind_the_system_prompt() -> None:
    conversation = [Message("user", "one"), Message("assistant", "Hello."), Message("user", "two")]
    assert CONTEXT.fit("Be brief.", conversation) == [Message("system", "Be brief."), *conversation]


def test_words_that_are_too_long_by_themselves_are_cut_at_their_beginning() -> None:
    (message,) = CONTEXT.fit("", [Message("user", "blah " * 200 + "so what is the capital of France")])
    assert message.content.endswith("so what is the capital of France")
    assert message.content.startswith(("blah", "lah", "ah", "h"))
    assert len(message.content) > 300


def test_a_letter_that_a_tokenizer_may_spell_out_counts_as_what_it_becomes() -> None:
    """Some normalise first: this one sign becomes eighteen letters."""
    (message,) = CONTEXT.fit("", [Message("user", "\ufdfa" * 100)])
    assert 0 < len(message.content) * len("صلى الله عليه وسلم".encode()) <= 400


def test_more_bytes_for_each_token_let_more_in() -> None:
    conversation = [Message("user", f"{number} " * 50) for number in range(20)]
    few = CONTEXT.fit("", conversation)
    many = Context(500, 100, bytes_per_token=3).fit("", conversation)
    assert len(few) < len(many) < len(conversation)


def test_a_system_prompt_must_leave_room_for_a_question() -> None:
    most = 500 - 100 - 3 * MESSAGE_TOKENS - MIN_QUESTION_TOKENS
    assert CONTEXT.takes("x" * most)
    assert not CONTEXT.takes("x" * (most + 1))


@pytest.mark.parametrize("settings", [{"context_tokens": 300}, {"system": "x" * 4000}])
def test_settings_that_leave_no_room_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="SOPHIA_CONTEXT_TOKENS"):
        SophiaSettings(**settings)  # type: ignore[arg-type]
