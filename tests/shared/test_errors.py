"""The error tree: what each error says, to people and to machines."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from shared import errors
from shared.errors import Overloaded, PeerError, PeerTimeout, SettingsError, VoxloopError


def tree(kind: type[VoxloopError]) -> Iterator[type[VoxloopError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


ALL = list(tree(VoxloopError))


def made(kind: type[VoxloopError]) -> VoxloopError:
    if issubclass(kind, PeerError):
        return kind("riva", "it said no", hint="Ask again.")
    return kind("it said no", hint="Ask again.")


def test_every_error_is_drawn_in_the_docstring() -> None:
    assert errors.__doc__ is not None
    assert not [kind.__name__ for kind in ALL if f" {kind.__name__}" not in errors.__doc__]


def test_codes_are_unique() -> None:
    assert len({kind.code for kind in ALL}) == len(ALL)


@pytest.mark.parametrize("kind", ALL)
def test_only_what_may_pass_later_is_retryable(kind: type[VoxloopError]) -> None:
    assert kind.retryable == (kind.status in (429, 503, 504))


@pytest.mark.parametrize("kind", ALL)
def test_an_error_says_what_was_wrong_and_then_what_to_do(kind: type[VoxloopError]) -> None:
    where = "riva: " if issubclass(kind, PeerError) else ""
    assert str(made(kind)) == f"{where}it said no. Ask again."


@pytest.mark.parametrize(
    ("message", "hint", "told"),
    [
        ("port 1 is taken", "", "port 1 is taken"),
        ("port 1 is taken.", "", "port 1 is taken."),
        ("port 1 is taken.", "End it.", "port 1 is taken. End it."),
        ("port 1 is taken", "End it.", "port 1 is taken. End it."),
        ("is it?", "Look.", "is it? Look."),
    ],
)
def test_message_and_hint_are_sentences_of_their_own(message: str, hint: str, told: str) -> None:
    assert str(Overloaded(message, hint=hint)) == told


def test_a_peer_error_knows_its_peer() -> None:
    error = PeerTimeout("triton", "no token in 5 s")
    assert error.peer == "triton"
    assert error.message == "triton: no token in 5 s"


@pytest.mark.parametrize("kind", ALL)
def test_an_error_survives_the_way_out_of_a_worker_process(kind: type[VoxloopError]) -> None:
    error = made(kind)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is kind
    assert (str(copy), copy.message, copy.hint) == (str(error), error.message, error.hint)
    assert getattr(copy, "peer", None) == getattr(error, "peer", None)


def test_what_an_operator_must_mend_is_never_retryable() -> None:
    assert not SettingsError("x").retryable
    assert not errors.StartupError("x").retryable
    assert not errors.PeerCertificate("riva", "x").retryable
