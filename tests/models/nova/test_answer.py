from __future__ import annotations

from importlib import import_module

messages = import_module("models.nova.1.messages")
sampling = import_module("models.nova.1.sampling")
Answer = import_module("models.nova.1.answer").Answer

TABLE = [b"", b"Hello", b" world", "🙂".encode()[:2], "🙂".encode()[2:], b". ", b"More"]
END, HELLO, WORLD, HALF, OTHER_HALF, STOP, MORE = range(7)


def answer(**values: object) -> object:
    return Answer(id=7, index=0, table=TABLE, sampling=sampling.Sampling(**values))


def test_each_gain_holds_what_is_new() -> None:
    growing = answer()
    growing.absorb([HELLO], [], None)
    assert growing.take() == messages.Gain(7, 0, "Hello", 1, 0.0, [], None)
    growing.absorb([WORLD], [], None)
    assert growing.take() == messages.Gain(7, 0, " world", 1, 0.0, [], None)
    growing.absorb([END], [], "stop")
    assert growing.take() == messages.Gain(7, 0, "", 1, 0.0, [], "stop")


def test_half_a_character_is_no_news_but_its_token_is_counted_with_the_next() -> None:
    growing = answer()
    growing.absorb([HALF], [], None)
    assert growing.take() is None
    growing.absorb([OTHER_HALF], [], None)
    assert growing.take() == messages.Gain(7, 0, "🙂", 2, 0.0, [], None)


def test_a_stop_string_ends_the_answer_before_itself() -> None:
    growing = answer(stop=(". M",))
    growing.absorb([HELLO, STOP], [], None)
    assert growing.take().text == "Hello"
    growing.absorb([MORE], [], None)
    assert growing.take() == messages.Gain(7, 0, "", 1, 0.0, [], "stop")


def test_a_stop_string_may_be_kept() -> None:
    growing = answer(stop=(".",), include_stop_str_in_output=True)
    growing.absorb([HELLO, STOP], [], None)
    assert (growing.take().text, growing.finish) == ("Hello.", "stop")


def test_below_min_tokens_no_stop_string_ends_it() -> None:
    growing = answer(stop=(".",), min_tokens=3)
    growing.absorb([STOP], [], None)
    growing.absorb([STOP], [], None)
    assert growing.finish is None
    growing.absorb([STOP], [], None)
    assert (growing.take().text, growing.finish) == (". . ", "stop")


def test_what_might_have_been_a_stop_string_is_told_at_the_end() -> None:
    growing = answer(stop=(". Never",))
    growing.absorb([HELLO, STOP], [], None)
    assert growing.take().text == "Hello"
    growing.absorb([END], [], "length")
    assert growing.take() == messages.Gain(7, 0, ". ", 1, 0.0, [], "length")


def test_logprobs_add_up() -> None:
    growing = answer(logprobs=1)
    growing.absorb([HELLO], [-0.5], None)
    growing.absorb([WORLD], [-0.25], None)
    gain = growing.take()
    assert gain.cumulative_logprob == -0.75
    assert gain.logprobs == [(HELLO, -0.5, "Hello"), (WORLD, -0.25, " world")]
