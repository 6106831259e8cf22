"""What is seen of a turn, and when: held against the clock of its sound."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import REGISTRY

from services.aurora.stage import FRAME_MS, MAX_FRAMES, Part, Stage

NAMES = ("JawOpen", "BrowInnerUp", "EyeBlinkLeft", "EyeBlinkRight")
OPEN = (0.8, 0.5, 0.0, 0.0)


class Screen:
    """Keeps what it is told, and by when."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, dict[str, Any]]] = []
        self.left = False
        self.watched = True
        self._more = asyncio.Event()

    def tell(self, kind: str, **fields: Any) -> None:
        self.seen.append((time.monotonic(), {"type": kind} | fields))
        self._more.set()

    def leave(self) -> None:
        self.left = True
        self._more.set()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for _, message in self.seen if message["type"] == kind]

    def mouth_is_shut(self) -> bool:
        return bool(rests := self.of("animation.rest")) and rests[-1]["weights"][0] == 0

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def stage(buffer_ms: float = 120) -> AsyncIterator[tuple[Stage, Screen]]:
    screen = Screen()
    made = Stage(screen.tell, lambda: screen.watched, screen.leave, buffer_ms)
    try:
        yield made, screen
    finally:
        made.stop()


def give(made: Stage, turn: int, frames: int, at_ms: float = 0.0) -> Part:
    """A turn whose frames are all there before its sound is heard."""
    part = made.begin(turn)
    made.header(part, NAMES)
    made.follow(turn, at_ms, paused=True)
    for number in range(frames):
        made.frame(part, number * FRAME_MS, OPEN)
    made.close(part)
    return part


def drops(reason: str) -> float:
    return REGISTRY.get_sample_value("voxloop_aurora_viewer_frames_dropped_total", {"reason": reason}) or 0.0


async def test_no_frame_leaves_before_its_time_though_its_call_is_over() -> None:
    before = drops("late")
    async with stage() as (made, screen):
        give(made, 1, frames=12)
        made.follow(1, 0.0, paused=False)
        await screen.until(lambda: screen.of("animation.end"))
        frames = screen.of("animation")
        assert all(frame["in_ms"] <= 120 for frame in frames)
        assert len(frames) == 12 - (drops("late") - before)
        assert [frame["t_ms"] for frame in frames] == sorted(frame["t_ms"] for frame in frames)


async def test_a_late_frame_is_dropped_and_counted() -> None:
    before = drops("late")
    async with stage() as (made, screen):
        give(made, 1, frames=10)
        made.follow(1, 5 * FRAME_MS + 1, paused=False)
        await screen.until(lambda: screen.of("animation.end"))
    dropped = drops("late") - before
    assert dropped >= 4  # the fifth is late by less than a frame, if this machine is quick
    assert len(screen.of("animation")) == 10 - dropped


async def test_a_sound_that_stands_still_holds_its_frames_and_closes_the_mouth() -> None:
    async with stage(buffer_ms=0) as (made, screen):
        give(made, 1, frames=60)
        made.follow(1, 0.0, paused=False)
        await screen.until(lambda: len(screen.of("animation")) >= 2)
        made.follow(1, 50.0, paused=True)
        shown = len(screen.of("animation"))
        await screen.until(screen.mouth_is_shut)
        assert len(screen.of("animation")) == shown
        assert screen.of("animation.clock")[-1] == {
            "type": "animation.clock", "turn": 1, "t_ms": 50.0, "running": False,
        }  # fmt: skip
        made.follow(1, 50.0, paused=False)
        await screen.until(lambda: len(screen.of("animation")) > shown)


async def test_an_interruption_eases_the_mouth_shut_and_no_frame_follows() -> None:
    before = drops("interrupted")
    async with stage() as (made, screen):
        part = give(made, 3, frames=60)
        made.follow(3, 0.0, paused=False)
        await screen.until(lambda: screen.of("animation"))
        made.interrupt_turn(2)
        assert not screen.of("animation.end")
        rested = len(screen.of("animation.rest"))  # before the turn
        made.interrupt_turn(3)
        assert screen.of("animation.end") == [{"type": "animation.end", "turn": 3}]
        shown = len(screen.of("animation"))
        made.frame(part, 2000.0, OPEN)
        await screen.until(screen.mouth_is_shut)
        assert len(screen.of("animation")) == shown
        jaws = [rest["weights"][0] for rest in screen.of("animation.rest")[rested:]]
        assert jaws == sorted(jaws, reverse=True)
        assert screen.of("animation.rest")[-1]["weights"][1] > 0, "the brows take longer"
    assert drops("interrupted") - before == 60 - shown


async def test_lips_move_after_fifty_interruptions() -> None:
    async with stage(buffer_ms=60_000) as (made, screen):  # in which no frame is late
        for turn in range(1, 51):
            give(made, turn, frames=30)
            made.follow(turn, 0.0, paused=False)
            made.interrupt_turn(turn)
        assert len(screen.of("animation.end")) == 50
        give(made, 51, frames=6)
        made.follow(51, 0.0, paused=False)
        await screen.until(lambda: len(screen.of("animation.end")) == 51)
        assert {frame["turn"] for frame in screen.of("animation")[-6:]} == {51}
        assert screen.of("animation")[-1]["weights"][0] == 0.8


async def test_a_new_turn_takes_the_stage_from_an_older_one() -> None:
    async with stage() as (made, screen):
        old = give(made, 1, frames=30)
        new = give(made, 2, frames=3)
        made.frame(old, 0.0, OPEN)
        made.heard(old)
        made.interrupt(old)
        assert len(new.waiting) == 3
        made.follow(2, 0.0, paused=False)
        await screen.until(lambda: len(screen.of("animation.end")) == 2)
        assert {frame["turn"] for frame in screen.of("animation")} == {2}


async def test_a_position_may_come_before_its_turn() -> None:
    async with stage() as (made, _):
        made.follow(4, 700.0, paused=True)
        made.follow(3, 1.0, paused=True)  # of a turn that is older still, but not shown yet either
        assert made.begin(3).clock.heard_ms() == 1.0
        made.follow(5, 800.0, paused=True)
        assert made.begin(5).clock.heard_ms() == 800.0


async def test_what_waits_is_bounded() -> None:
    before = drops("full")
    async with stage() as (made, _):
        part = give(made, 1, frames=MAX_FRAMES + 7)
        assert len(part.waiting) == MAX_FRAMES
    assert drops("full") - before == 7


async def test_a_face_at_rest_blinks_until_nobody_watches() -> None:
    async with stage() as (made, screen):
        give(made, 1, frames=1)
        made.follow(1, 0.0, paused=False)
        await screen.until(lambda: any(rest["weights"][2] > 0.2 for rest in screen.of("animation.rest")))
        assert made.rests
        screen.watched = False
        await screen.until(lambda: screen.left)


async def test_a_turn_runs_to_its_end_unseen() -> None:
    async with stage() as (made, screen):
        screen.watched = False
        give(made, 1, frames=5)
        made.follow(1, 0.0, paused=False)
        await screen.until(lambda: screen.left)
        assert not screen.of("animation")
