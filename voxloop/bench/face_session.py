"""One conversation before a viewer: replies that are spoken, hushed, interrupted, with sophia's own caller of
aurora and her own clock of the sound, and what of it was seen when."""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import orjson
from websockets.asyncio.client import ClientConnection, connect

from services.sophia.events import Animation
from services.sophia.face import Face, FaceStream
from services.sophia.playback import MediaClock
from shared.audio import BYTES_PER_SAMPLE, RATE, duration_s
from shared.channels import Endpoint
from voxloop.bench.face_viewer import Viewer

SESSION = "bench"
PIECE = RATE // 10 * BYTES_PER_SAMPLE
LEAD_MS = 300
"""Sophia's own."""
PAUSE_S = 1.0
"""Between two replies; an interrupted mouth is neutral long before it ends."""
HUSH_S = 0.6


class Sound:
    """Where the sound of one turn was, at any time of the past."""

    def __init__(self) -> None:
        self.clock = MediaClock()
        self._at: list[float] = []
        self._moves: list[tuple[float, bool]] = []  # ms heard, paused

    def note(self) -> None:
        """Called after each change of the clock."""
        self._at.append(time.monotonic())
        self._moves.append((self.clock.played_ms(), self.clock.paused))

    def heard_ms(self, at_s: float) -> float:
        index = max(0, bisect(self._at, at_s) - 1)
        heard_ms, paused = self._moves[index]
        return heard_ms if paused else min(self.clock.sent_ms, heard_ms + (at_s - self._at[index]) * 1e3)


@dataclass
class Session:
    """`sounds` by turn; `cut` says when a turn was interrupted, in seconds of the steady clock."""

    viewer: Viewer = field(default_factory=Viewer)
    sounds: dict[int, Sound] = field(default_factory=dict)
    cut: dict[int, float] = field(default_factory=dict)
    hushed: int = 0

    def skews_ms(self) -> list[tuple[float, float]]:
        """When each frame was shown (s), and how far that was from its sound; positive is too late."""
        return [
            (one.at_s, self.sounds[one.turn].heard_ms(one.at_s) - one.t_ms)
            for one in self.viewer.shown
            if one.turn in self.sounds
        ]

    def shut_ms(self) -> list[float]:
        """From each interruption to a neutral mouth."""
        return [
            1e3 * (self.viewer.shut[turn] - at_s)
            for turn, at_s in self.cut.items()
            if turn in self.viewer.shut
        ]

    def heard_frames(self, fps: int) -> dict[int, int]:
        """By turn, how many frames the sound has that was heard of it."""
        return {
            turn: int(sound.heard_ms(self.cut.get(turn, time.monotonic())) * fps / 1e3)
            for turn, sound in self.sounds.items()
        }

    def still(self) -> int:
        """Turns of which nothing was seen."""
        return len(self.sounds.keys() - {one.turn for one in self.viewer.shown})


async def converse(aurora: str, frames_url: str, seconds: float, replies: Sequence[bytes]) -> Session:
    """`replies` are PCM16 at 16 kHz, spoken one after the other, over and over."""
    session = Session()
    chance = random.Random(0)  # noqa: S311 - the same session each time
    face = Face(Endpoint("aurora", aurora))
    try:
        async with connect(f"{frames_url}?session={SESSION}", max_size=None, proxy=None) as socket:
            watching = asyncio.create_task(_watch(socket, session.viewer))
            until = time.monotonic() + seconds
            turn = 0
            while time.monotonic() < until:
                turn += 1
                await _reply(session, face, turn, replies[turn % len(replies)], chance)
                await asyncio.sleep(PAUSE_S)
            watching.cancel()
            await asyncio.wait([watching])
    finally:
        await face.close()
    return session


async def _watch(socket: ClientConnection, viewer: Viewer) -> None:
    async for message in socket:
        at_s = time.monotonic()
        viewer.take(orjson.loads(message), at_s)


async def _reply(session: Session, face: Face, turn: int, pcm: bytes, chance: random.Random) -> None:
    """Every second one is interrupted, every fourth hushed for a moment and heard to its end."""
    session.sounds[turn] = sound = Sound()
    speaking = asyncio.create_task(_speak(face, turn, pcm, sound))
    moment_s = chance.uniform(0.3, 0.8) * duration_s(pcm)
    await asyncio.wait([speaking], timeout=moment_s if turn % 2 == 0 or turn % 4 == 1 else None)
    if turn % 2 == 0 and not speaking.done():
        session.cut[turn] = time.monotonic()
        speaking.cancel()
    elif turn % 4 == 1 and not speaking.done():
        session.hushed += 1
        sound.clock.pause()
        sound.note()
        await asyncio.sleep(HUSH_S)
        sound.clock.resume()
        sound.note()
    await asyncio.wait([speaking])
    if not speaking.cancelled():
        speaking.result()


async def _speak(face: Face, turn: int, pcm: bytes, sound: Sound) -> None:
    """As sophia's reply does it: all of the sound to the face at once, to the listener by the clock."""
    stream = face.animate(SESSION, turn, RATE)
    pieces = [pcm[at : at + PIECE] for at in range(0, len(pcm), PIECE)]
    for piece in pieces:
        stream.audio(piece)
    stream.end()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_take(stream, sound.clock))
        tasks.create_task(face.follow(SESSION, turn, sound.clock))
        for piece in pieces:
            await sound.clock.until_lead_below(LEAD_MS)
            sound.clock.sent(duration_s(piece) * 1e3)
            sound.note()
        sound.clock.finish()
        await sound.clock.until_played_out()


async def _take(stream: FaceStream, clock: MediaClock) -> None:
    async with aclosing(stream.frames()) as frames:
        async for frame in frames:
            if isinstance(frame, Animation):
                await clock.until_sent(frame.t_ms)
