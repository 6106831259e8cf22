from __future__ import annotations

from contextlib import AbstractContextManager, suppress

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.nova.circuit import Circuit
from shared.errors import PeerRefused, PeerTimeout, PeerUnavailable, VoxloopError

REST_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def attempt(circuit: Circuit, outcome: BaseException | None) -> None:
    with circuit.attempt():
        if outcome is not None:
            raise outcome


def opened(clock: Clock) -> Circuit:
    circuit = Circuit("triton", failures=2, rest_s=REST_S, clock=clock)
    for _ in range(2):
        with pytest.raises(PeerTimeout):
            attempt(circuit, PeerTimeout("triton", "silence"))
    return circuit


def test_it_opens_after_so_many_retryable_failures_in_a_row_and_refuses_at_once() -> None:
    circuit = opened(Clock())
    with pytest.raises(PeerUnavailable, match="failed 2 times in a row") as refusal:
        attempt(circuit, None)
    assert refusal.value.retryable


def test_a_success_in_between_starts_the_count_anew() -> None:
    circuit = Circuit("triton", failures=2, rest_s=REST_S)
    for outcome in (PeerTimeout("triton", "silence"), None, PeerTimeout("triton", "silence")):
        with suppress(PeerTimeout):
            attempt(circuit, outcome)
    assert not circuit.is_open


def test_a_refusal_is_an_answer() -> None:
    circuit = Circuit("triton", failures=1, rest_s=REST_S)
    with pytest.raises(PeerRefused):
        attempt(circuit, PeerRefused("triton", "no"))
    assert not circuit.is_open


def test_after_its_rest_one_attempt_tries_for_all() -> None:
    clock = Clock()
    circuit = opened(clock)
    clock.now = REST_S
    with circuit.attempt(), pytest.raises(PeerUnavailable):
        attempt(circuit, None)
    attempt(circuit, None)
    assert not circuit.is_open


def test_a_trial_that_fails_means_another_rest() -> None:
    clock = Clock()
    circuit = opened(clock)
    clock.now = REST_S
    with pytest.raises(PeerTimeout):
        attempt(circuit, PeerTimeout("triton", "silence"))
    with pytest.raises(PeerUnavailable):
        circuit.check()
    clock.now = 2 * REST_S
    circuit.check()


def test_a_trial_that_is_given_up_leaves_the_turn_to_the_next() -> None:
    clock = Clock()
    circuit = opened(clock)
    clock.now = REST_S
    with pytest.raises(KeyboardInterrupt):
        attempt(circuit, KeyboardInterrupt())
    attempt(circuit, None)
    assert not circuit.is_open


def test_a_late_failure_of_what_began_before_a_success_says_nothing_about_now() -> None:
    circuit = Circuit("triton", failures=1, rest_s=REST_S)
    late = circuit.attempt()
    late.__enter__()
    attempt(circuit, None)
    error = PeerTimeout("triton", "silence")
    assert not late.__exit__(PeerTimeout, error, None)
    assert not circuit.is_open


class AnyOrder(RuleBasedStateMachine):
    """In whatever order attempts begin and end, an open circuit tries one, and a success closes it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.circuit = Circuit("triton", failures=3, rest_s=REST_S, clock=self.clock)
        self.running: list[tuple[AbstractContextManager[None], bool]] = []

    @rule()
    def begin(self) -> None:
        was_open = self.circuit.is_open
        block = self.circuit.attempt()
        try:
            block.__enter__()
        except PeerUnavailable:
            assert was_open
            return
        self.running.append((block, was_open))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), error=st.sampled_from([None, PeerTimeout("a", "b"), PeerRefused("a", "b")]))
    def end(self, data: st.DataObject, error: VoxloopError | None) -> None:
        block, _ = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        assert not block.__exit__(type(error) if error else None, error, None)
        if error is None or not error.retryable:
            assert not self.circuit.is_open

    @rule(seconds=st.sampled_from([1.0, REST_S]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def an_open_circuit_rests_or_tries(self) -> None:
        if self.circuit.is_open:
            assert sum(trial for _, trial in self.running) <= 1


TestAnyOrder = AnyOrder.TestCase
