"""What waits for a client is bounded, and a turn that is over is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from services.sophia.events import Animation, Interrupted, ReplyAudio, ReplyText, SpeechStarted, TurnMetrics
from services.sophia.outbox import MAX_EVENTS, MAX_FRAMES, Outbox
from shared.errors import Overloaded


async def drain(outbox: Outbox) -> list[object]:
    outbox.put(SpeechStarted())
    events: list[object] = []
    while not isinstance(event := await outbox.get(), SpeechStarted):
        events.append(event)
    return events


async def test_events_leave_in_order() -> None:
    outbox = Outbox()
    outbox.put(ReplyText(1, "a"))
    outbox.put(ReplyAudio(1, b"xx"))
    assert await drain(outbox) == [ReplyText(1, "a"), ReplyAudio(1, b"xx")]


async def test_who_never_catches_up_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.sophia.outbox.MAX_BEHIND_S", -1.0)
    outbox = Outbox()
    for _ in range(3):
        outbox.put(ReplyText(1, "a"))
        await outbox.get()  # this one has
    outbox.put(ReplyText(1, "a"))
    outbox.put(ReplyText(1, "a"))
    await outbox.get()
    outbox.put(ReplyText(1, "a"))
    with pytest.raises(Overloaded, match="too slowly"):
        await outbox.get()


async def test_an_interrupted_turn_leaves_nothing_behind() -> None:
    outbox = Outbox()
    for event in (
        ReplyText(1, "a"),
        ReplyAudio(1, b"xx"),
        Animation(1, 0, ()),
        SpeechStarted(),
        ReplyText(2, "b"),
    ):
        outbox.put(event)
    outbox.drop_turn(1)
    outbox.put(Interrupted(1, "", 0))
    assert await outbox.get() == SpeechStarted()
    assert await drain(outbox) == [ReplyText(2, "b"), Interrupted(1, "", 0)]


async def test_the_times_of_a_turn_that_is_over_are_still_told() -> None:
    outbox = Outbox()
    outbox.put(ReplyText(1, "a"))
    outbox.put(TurnMetrics(1, {}))
    outbox.drop_turn(1)
    assert await drain(outbox) == [TurnMetrics(1, {})]


async def test_a_client_that_lags_loses_the_oldest_frames_and_no_sound() -> None:
    outbox = Outbox()
    outbox.put(ReplyAudio(1, b"xx"))
    for number in range(MAX_FRAMES + 10):
        outbox.put(Animation(1, float(number), ()))
    kept = await drain(outbox)
    assert kept[0] == ReplyAudio(1, b"xx")
    assert kept[1] == Animation(1, 10.0, ())
    assert len(kept) == MAX_FRAMES + 1


async def test_a_client_that_never_reads_is_given_up() -> None:
    outbox = Outbox()
    for _ in range(MAX_EVENTS + 1):
        outbox.put(ReplyText(1, "a"))
    with pytest.raises(Overloaded):
        await outbox.get()


async def test_a_waiting_reader_is_woken() -> None:
    outbox = Outbox()
    reader = asyncio.create_task(outbox.get())
    await asyncio.sleep(0)
    outbox.put(SpeechStarted())
    assert await asyncio.wait_for(reader, 1) == SpeechStarted()
