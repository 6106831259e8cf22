"""Marks inside the sound: where an utterance begins and ends, and whose it is.

Eight samples too quiet to be heard, which survive any path that keeps the samples as they are. By them engine
and client mean the same moment, whatever buffers lie between.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = struct.pack("<4h", 97, -389, 211, -53)
_BODY = struct.Struct("<4h")
SIZE = len(MAGIC) + _BODY.size
_STEP_MS = 10


@dataclass(frozen=True, slots=True)
class Mark:
    """`reply_ms`: how long the reply is to be, in tens of ms."""

    begins: bool
    session: int
    turn: int
    reply_ms: int

    def encode(self) -> bytes:
        return MAGIC + _BODY.pack(int(self.begins), self.session, self.turn, self.reply_ms // _STEP_MS)


class MarkReader:
    """Finds marks in a stream of PCM16 that is cut anywhere."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, pcm: bytes) -> Iterator[tuple[Mark, int]]:
        """Each mark, and how many bytes of `pcm` came after it."""
        data = self._tail + pcm
        at = 0
        while (found := data.find(MAGIC, at)) >= 0 and found + SIZE <= len(data):
            begins, session, turn, tens = _BODY.unpack_from(data, found + len(MAGIC))
            at = found + SIZE
            yield Mark(bool(begins), session, turn, tens * _STEP_MS), len(data) - at
        self._tail = data[max(at, len(data) - SIZE + 1) :]
