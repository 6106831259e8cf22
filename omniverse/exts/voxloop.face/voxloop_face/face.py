"""Start, stop, emotion: what the events of Kit do, with nothing of Kit in it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence

import aiohttp
from pxr import Usd

from voxloop_face.feed import Aurora, Message, feel, watch
from voxloop_face.pose import LivePose, NoFace

Report = Callable[[str], None]
NEUTRAL = {"neutral": 1.0}


class Face:
    """On one event loop. `stage` gives the open stage, or None; `report` takes lines for the user's log."""

    def __init__(
        self, aurora: Aurora, stage: Callable[[], Usd.Stage | None], prim: str, report: Report
    ) -> None:
        self._aurora = aurora
        self._stage = stage
        self._prim = prim
        self._report = report
        self._pose: LivePose | None = None
        self._watching: asyncio.Task[None] | None = None
        self._feeling: asyncio.Task[None] | None = None
        self._emotions = NEUTRAL
        self._turn: tuple[str, int] | None = None
        self._due: deque[tuple[float, asyncio.TimerHandle]] = deque()

    @property
    def running(self) -> bool:
        return self._watching is not None

    def start(self) -> None:
        """Again from the beginning, if it runs already."""
        self.stop()
        stage = self._stage()
        if stage is None:
            self._report("no stage is open: open one, then start the face")
            return
        try:
            self._pose = LivePose(stage, self._prim)
        except NoFace as error:
            self._report(str(error))
            return
        self._watching = _spawn(watch(self._aurora, self._take, self._report))

    def stop(self) -> None:
        """Leaves the stage as it was."""
        for task in (self._watching, self._feeling):
            if task is not None:
                task.cancel()
        self._watching = self._feeling = self._turn = None
        self._drop()
        if self._pose is not None:
            self._pose.close()
            self._pose = None

    def emotion(self, name: str, strength: float = 1.0) -> None:
        """Holds for this turn and those to come; `neutral` ends it."""
        self._emotions = {name: strength}
        self._feel()

    def _take(self, message: Message) -> None:
        if self._pose is None:
            return
        kind, turn = message.get("type"), (message.get("session", ""), message.get("turn", 0))
        if kind == "animation.header":  # the newest turn has the face
            self._drop()
            self._turn = turn
            self._pose.named(message["names"])
            if self._emotions != NEUTRAL:
                self._feel()
        elif kind == "lost":
            self._drop()
            self._turn = None
            self._pose.rest()
        elif turn != self._turn:
            pass
        elif kind == "animation":
            self._later(message["in_ms"] / 1000, message["weights"])
        elif kind == "animation.rest":
            self._pose.show(message["weights"])
        elif kind == "animation.end" or (kind == "animation.clock" and not message["running"]):
            self._drop()

    def _later(self, delay_s: float, weights: Sequence[float]) -> None:
        """A frame comes a little before its sound is heard."""
        loop = asyncio.get_running_loop()
        while self._due and self._due[0][0] < loop.time():
            self._due.popleft()
        if self._pose is not None:
            at_s = loop.time() + max(0.0, delay_s)
            self._due.append((at_s, loop.call_at(at_s, self._pose.show, weights)))

    def _drop(self) -> None:
        while self._due:
            self._due.popleft()[1].cancel()

    def _feel(self) -> None:
        if self._turn is not None:
            if self._feeling is not None:
                self._feeling.cancel()
            self._feeling = _spawn(self._send(self._emotions))

    async def _send(self, emotions: dict[str, float]) -> None:
        try:
            await feel(self._aurora, emotions)
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:  # noqa: UP041 - Kit 106 has Python 3.10
            self._report(f"{self._aurora.url} did not take the emotion: {error}")


def _spawn(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    return asyncio.ensure_future(work)  # Kit's loop runs, though not always this call within it
