"""Each client address may open so many sessions a minute, whatever the others do."""

from __future__ import annotations

import pytest

from services.sophia.opening import MAX_ADDRESSES, OpeningRate


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def test_a_minutes_openings_may_come_at_once_and_the_next_one_waits() -> None:
    clock = Clock()
    rate = OpeningRate(6, clock)
    assert [rate.wait_s("192.0.2.1") for _ in range(6)] == [0] * 6
    assert rate.wait_s("192.0.2.1") == pytest.approx(10)
    clock.s = 4
    assert rate.wait_s("192.0.2.1") == pytest.approx(6)
    clock.s = 10
    assert rate.wait_s("192.0.2.1") == 0
    assert rate.wait_s("192.0.2.1") > 0


def test_nobody_saves_up_for_more_than_a_minute() -> None:
    clock = Clock()
    rate = OpeningRate(2, clock)
    rate.wait_s("192.0.2.1")
    clock.s = 3600
    assert [rate.wait_s("192.0.2.1") > 0 for _ in range(3)] == [False, False, True]


def test_one_address_takes_nothing_from_another() -> None:
    rate = OpeningRate(1, Clock())
    assert rate.wait_s("192.0.2.1") == 0
    assert rate.wait_s("192.0.2.1") > 0
    assert rate.wait_s("192.0.2.2") == 0


@pytest.mark.parametrize(
    ("one", "same"),
    [("2001:db8::1", "2001:db8::ffff:2"), ("192.0.2.1", "::ffff:192.0.2.1"), ("a socket", "a socket")],
)
def test_one_site_is_one_client(one: str, same: str) -> None:
    rate = OpeningRate(1, Clock())
    assert rate.wait_s(one) == 0
    assert rate.wait_s(same) > 0
    assert rate.wait_s("2001:db8:0:1::1") == 0


def test_zero_is_no_limit() -> None:
    rate = OpeningRate(0, Clock())
    assert not any(rate.wait_s("192.0.2.1") for _ in range(1000))


def test_what_is_remembered_is_bounded() -> None:
    rate = OpeningRate(1, Clock())
    for number in range(MAX_ADDRESSES + 1):
        rate.wait_s(f"client {number}")
    assert rate.wait_s(f"client {MAX_ADDRESSES}") > 0
    assert rate.wait_s("client 0") == 0
