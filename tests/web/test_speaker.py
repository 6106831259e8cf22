"""Queued sound: its clock is the browser's audio clock, and it can be held and dropped at once."""

from __future__ import annotations

from typing import Any

from tests.web.conftest import Visit

SPEAKER = """
const frame = () => new Promise(requestAnimationFrame);
const speaker = new it.Speaker(24000);
const second = new Int16Array(24000).fill(1000).buffer;
speaker.begin(1);
"""


async def speaker(guest: Visit, use: str) -> Any:
    await guest.page.click("#state")  # only after the user has done something may a page sound
    return await guest.module("speaker.js", SPEAKER + use)


async def test_pieces_are_heard_one_after_the_other_to_the_end(guest: Visit) -> None:
    assert await speaker(
        guest,
        """
        for (let piece = 0; piece < 4; piece++) speaker.play(second.slice(0, 4800));
        const heard = [];
        while (speaker.heardMs < speaker.queuedMs) { heard.push(speaker.heardMs); await frame(); }
        return [speaker.heardMs, heard[0], heard.every((ms, index) => !index || ms >= heard[index - 1])];
        """,
    ) == [400, 0, True]


async def test_a_pause_stands_still_and_goes_on_where_it_stopped(guest: Visit) -> None:
    before, after, end = await speaker(
        guest,
        """
        speaker.play(second);
        while (speaker.heardMs < 200) await frame();
        speaker.pause();
        for (let count = 0; count < 10; count++) await frame();
        const before = speaker.heardMs;
        for (let count = 0; count < 20; count++) await frame();
        const after = speaker.heardMs;
        speaker.resume();
        while (speaker.heardMs < 1000) await frame();
        return [before, after, speaker.heardMs];
        """,
    )
    assert 200 <= before == after < 1000
    assert end == 1000


async def test_what_was_dropped_is_over_and_its_late_pieces_too(guest: Visit) -> None:
    assert await speaker(
        guest,
        """
        speaker.play(second);
        speaker.pause();
        speaker.drop();
        speaker.play(second);
        const dropped = [speaker.turn, speaker.queuedMs, speaker.heardMs, speaker.paused];
        speaker.begin(2);
        speaker.play(second.slice(0, 4800));
        while (speaker.heardMs < 100) await frame();
        return [...dropped, speaker.turn, speaker.queuedMs];
        """,
    ) == [None, 0, 0, False, 2, 100]
