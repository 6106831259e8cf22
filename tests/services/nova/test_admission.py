from __future__ import annotations

import asyncio
from contextlib import ExitStack

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.nova.admission import Admission, Lane, Ticket
from shared.errors import InputError, Overloaded


def held(*tickets: Ticket) -> list[bool]:
    return [ticket.granted.is_set() for ticket in tickets]


def test_who_fits_gets_a_place_at_once() -> None:
    admission = Admission(places=2, voice_places=0, queue=0)
    with admission.enter(Lane.BATCH, 2) as tickets:
        assert held(*tickets) == [True, True]
        assert admission.in_flight == 2
    assert admission.in_flight == 0


def test_places_are_given_in_the_order_of_arrival_as_others_leave() -> None:
    admission = Admission(places=1, voice_places=0, queue=2)
    with admission.enter(Lane.BATCH, 3) as (first, second, third):
        assert held(first, second, third) == [True, False, False]
        admission.leave(first)
        assert held(second, third) == [True, False]


def test_voice_overtakes_batches_that_came_before() -> None:
    admission = Admission(places=1, voice_places=0, queue=2)
    with admission.enter(Lane.BATCH, 2) as (running, batch), admission.enter(Lane.VOICE, 1) as (voice,):
        admission.leave(running)
        assert held(voice, batch) == [True, False]


def test_batches_leave_the_places_of_voice_alone() -> None:
    admission = Admission(places=4, voice_places=1, queue=4)
    with admission.enter(Lane.BATCH, 4) as batch, admission.enter(Lane.VOICE, 1) as (voice,):
        assert held(*batch) == [True, True, True, False]
        assert held(voice) == [True]


def test_a_request_that_does_not_fit_the_queue_is_refused_whole_and_takes_nothing() -> None:
    admission = Admission(places=1, voice_places=0, queue=2)
    with admission.enter(Lane.BATCH, 1):
        with pytest.raises(Overloaded, match="room for 3") as refusal, admission.enter(Lane.BATCH, 3):
            pass
        assert refusal.value.retryable
        assert admission.in_flight == 1


def test_a_request_that_can_never_fit_is_not_told_to_come_back() -> None:
    admission = Admission(places=4, voice_places=3, queue=2)
    with pytest.raises(InputError, match="at most 3") as refusal, admission.enter(Lane.BATCH, 4):
        pass
    assert not refusal.value.retryable
    with admission.enter(Lane.VOICE, 6):
        assert admission.in_flight == 4


def test_full_batch_queues_do_not_keep_voice_out() -> None:
    admission = Admission(places=1, voice_places=0, queue=1)
    with admission.enter(Lane.BATCH, 2), admission.enter(Lane.VOICE, 1) as (voice,):
        assert held(voice) == [False]


def test_who_leaves_the_queue_makes_room_in_it() -> None:
    admission = Admission(places=1, voice_places=0, queue=1)
    with admission.enter(Lane.BATCH, 2) as (running, waiting):
        admission.leave(waiting)
        admission.leave(waiting)  # twice does no harm
        with admission.enter(Lane.BATCH, 1) as (next_one,):
            admission.leave(running)
            assert held(next_one) == [True]
            assert admission.in_flight == 1


async def test_waiting_too_long_is_an_overload() -> None:
    admission = Admission(places=1, voice_places=0, queue=1)
    with admission.enter(Lane.BATCH, 2) as (_, waiting), pytest.raises(Overloaded, match=r"0\.01 s"):
        await waiting.turn(0.01)


async def test_a_waiter_that_is_cancelled_frees_its_place_in_line() -> None:
    admission = Admission(places=1, voice_places=0, queue=1)

    async def wait() -> None:
        with admission.enter(Lane.BATCH, 1) as (ticket,):
            await ticket.turn(60)

    with admission.enter(Lane.BATCH, 1):
        waiter = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        with admission.enter(Lane.BATCH, 1) as (following,):
            assert held(following) == [False]


class AnyOrder(RuleBasedStateMachine):
    """Whatever order requests come and go in, the bounds hold and nobody waits beside a free place."""

    PLACES, VOICE_PLACES, QUEUE = 4, 1, 3

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(places=self.PLACES, voice_places=self.VOICE_PLACES, queue=self.QUEUE)
        self.requests: list[tuple[Lane, ExitStack, list[Ticket]]] = []

    def count(self, lane: Lane, granted: bool) -> int:
        return sum(
            ticket.granted.is_set() is granted
            for of, _, tickets in self.requests
            if of is lane
            for ticket in tickets
        )

    @rule(lane=st.sampled_from(Lane), count=st.integers(1, 6))
    def arrive(self, lane: Lane, count: int) -> None:
        waiting_before = self.count(lane, granted=False)
        block = ExitStack()
        try:
            tickets = list(block.enter_context(self.admission.enter(lane, count)))
        except Overloaded:
            assert waiting_before + count > self.QUEUE
            return
        self.requests.append((lane, block, tickets))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def end_one_answer(self, data: st.DataObject) -> None:
        _, _, tickets = data.draw(st.sampled_from(self.requests))
        if tickets:
            ticket = tickets.pop(data.draw(st.integers(0, len(tickets) - 1)))
            self.admission.leave(ticket)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def end_a_request(self, data: st.DataObject) -> None:
        _, block, _ = self.requests.pop(data.draw(st.integers(0, len(self.requests) - 1)))
        block.close()

    @invariant()
    def bounds_hold(self) -> None:
        voice, batch = self.count(Lane.VOICE, granted=True), self.count(Lane.BATCH, granted=True)
        assert self.admission.in_flight == voice + batch <= self.PLACES
        assert batch <= self.PLACES - self.VOICE_PLACES
        for lane in Lane:
            assert self.count(lane, granted=False) <= self.QUEUE

    @invariant()
    def nobody_waits_beside_a_free_place(self) -> None:
        if self.admission.in_flight < self.PLACES:
            assert not self.count(Lane.VOICE, granted=False)
            if self.count(Lane.BATCH, granted=True) < self.PLACES - self.VOICE_PLACES:
                assert not self.count(Lane.BATCH, granted=False)

    @invariant()
    def nobody_overtakes_in_a_lane(self) -> None:
        for lane in Lane:
            turns = [
                ticket.granted.is_set()
                for of, _, tickets in self.requests
                if of is lane
                for ticket in tickets
            ]
            assert turns == sorted(turns, reverse=True)


TestAnyOrder = AnyOrder.TestCase
