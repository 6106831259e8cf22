"""Every session as files: the frames and the sound of its turns, on their way from the loop to the disk.

The loop's thread gathers and never waits: pieces of a few seconds go through a bounded queue to one thread,
which writes. A fault of the disk is counted, named in the log once, and costs the recording alone.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from services.aurora import metrics
from services.aurora.take import Face, Format, Piece, Take
from shared.audio import BYTES_PER_SAMPLE

log = logging.getLogger(__name__)

PIECE_S = 5.0
"""What a process that dies may lose of a turn."""
WAITING = 64
"""Pieces that wait for the disk; beyond them they are dropped, counted."""
TAKE_S = 1200.0
"""Sound after which a session goes on in a new recording: no file grows without end."""
TAKES = 64
"""Recordings held open. The session that was quiet for longest goes on in a new one if it speaks again."""
CLOSE_S = 5.0


class TurnRecording:
    """What is gathered of one turn, on the loop's thread."""

    def __init__(
        self, recorder: Recorder, session: str, turn: int, rate: int, *, sound_alone: bool = False
    ) -> None:
        self._recorder = recorder
        self._session = session
        self._turn = turn
        self._rate = rate
        self._sound_alone = sound_alone
        self._face = Face((), 0, rate) if sound_alone else None
        self._pcm = bytearray()  # from _start on
        self._start = 0  # samples that went to the disk
        self._frames: list[tuple[float, Sequence[float]]] = []

    def header(self, names: tuple[str, ...], fps: float) -> None:
        self._face = Face(names, fps, self._rate)

    def sound(self, pcm: bytes) -> None:
        self._pcm += pcm
        if self._sound_alone and len(self._pcm) >= PIECE_S * self._rate * BYTES_PER_SAMPLE:
            self._give(rest=True)

    def frame(self, t_s: float, weights: Sequence[float]) -> None:
        self._frames.append((t_s, weights))
        if t_s - self._start / self._rate >= PIECE_S:
            self._give()

    def ended(self, *, whole: bool) -> None:
        """Of a turn that was not `whole`, sound beyond its last frame was not heard, nor is it recorded."""
        self._give(rest=whole or self._sound_alone)

    def _give(self, *, rest: bool = False) -> None:
        if self._face is None or not (self._frames or (self._sound_alone and self._pcm)):
            return
        samples = len(self._pcm) // BYTES_PER_SAMPLE
        if not rest:
            shown_s = self._frames[-1][0] + 1 / self._face.fps
            samples = min(samples, round(shown_s * self._rate) - self._start)
        size = samples * BYTES_PER_SAMPLE
        piece = Piece(
            session=self._session,
            turn=self._turn,
            face=self._face,
            start_s=self._start / self._rate,
            frames=tuple(self._frames),
            pcm=bytes(self._pcm[:size]),
        )
        del self._pcm[:size]
        self._start += samples
        self._frames.clear()
        self._recorder.give(piece)


class Recorder:
    def __init__(self, folder: Path, formats: tuple[Format, ...]) -> None:
        """Without `formats` the sound alone is recorded: for a face whose frames never come here."""
        self._folder = folder
        self._formats = formats
        self._pieces: queue.Queue[Piece | None] = queue.Queue(WAITING)
        self._takes: OrderedDict[str, Take] = OrderedDict()
        self._faulty = False
        # A daemon, for a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="aurora-recorder", daemon=True)
        self._thread.start()

    @contextmanager
    def turn(self, session: str, turn: int, rate: int) -> Iterator[TurnRecording]:
        recording = TurnRecording(self, session, turn, rate, sound_alone=not self._formats)
        whole = False
        try:
            yield recording
            whole = True
        finally:
            recording.ended(whole=whole)

    def give(self, piece: Piece) -> None:
        try:
            self._pieces.put_nowait(piece)
        except queue.Full:
            self._fault(f"the disk of {self._folder} is too slow; some seconds are missing")

    async def close(self) -> None:
        """What waits is written, within CLOSE_S."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        try:
            self._pieces.put(None, timeout=CLOSE_S)
        except queue.Full:
            log.warning("the disk of %s hangs; what was not written is lost", self._folder)
            return
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        while (piece := self._pieces.get()) is not None:
            try:
                self._write(piece)
            except OSError as error:
                self._drop(piece.session)
                self._fault(str(error))
            else:
                self._faulty &= not self._pieces.empty()
        for session in list(self._takes):
            self._drop(session)

    def _write(self, piece: Piece) -> None:
        take = self._takes.get(piece.session)
        if take and (take.face != piece.face or take.seconds >= TAKE_S):
            self._drop(piece.session)
            take = None
        if take is None:
            take = Take(self._folder, _name(piece.session), piece.face, self._formats)
            self._takes[piece.session] = take
        self._takes.move_to_end(piece.session)
        take.add(piece)
        while len(self._takes) > TAKES:
            self._drop(next(iter(self._takes)))

    def _drop(self, session: str) -> None:
        if take := self._takes.pop(session, None):
            try:
                take.close()
            except OSError as error:  # a full disk fails once more when the header is written
                log.debug("closing a recording: %s", error)

    def _fault(self, why: str) -> None:
        metrics.RECORDING_FAULTS.inc()
        if not self._faulty:
            self._faulty = True
            log.warning("cannot record: %s; the voice goes on, sessions are not recorded meanwhile", why)


def _name(session: str) -> str:
    """Callers choose the session's name, and must not choose a path by it."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", session)[:64] or "session"
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{safe}"
