"""What the server and its recognition workers say to each other over pipes.

A frame is `<u32 body length> <u8 kind> <u32 utterance>` (little-endian) and the body. The utterance
number lets both sides ignore what belongs to one that was dropped meanwhile.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

HEADER = struct.Struct("<IBI")
MAX_BODY = 4 << 20  # bytes; the longest utterance is below 1 MB


class Kind(IntEnum):
    # to the worker
    OPEN = 1  # JSON of Options: a new utterance begins
    AUDIO = 2  # PCM16 mono at 16 kHz
    PAUSE = 3  # the speaker is silent: work out a final now, it may be wanted soon
    RESUME = 4  # they speak again: that final is void
    CLOSE = 5  # the utterance is over: send the final
    DROP = 6  # nobody wants it any more
    # from the worker
    READY = 16  # the models are loaded
    PARTIAL = 17  # JSON of Result, may change
    GUESS = 18  # JSON of Result: what the final will be if the silence lasts
    FINAL = 19  # JSON of Result: the last word on this utterance


@dataclass(frozen=True)
class Frame:
    kind: Kind
    utterance: int = 0
    body: bytes = b""

    def pack(self) -> bytes:
        return HEADER.pack(len(self.body), self.kind, self.utterance) + self.body


class FrameError(Exception):
    """The bytes are no frames: the two sides do not speak the same protocol."""


class FrameReader:
    """Cuts a byte stream into frames; what is incomplete waits for the next feed."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        self._pending += data
        frames: list[Frame] = []
        while len(self._pending) >= HEADER.size:
            length, kind, utterance = HEADER.unpack_from(self._pending)
            if length > MAX_BODY:
                raise FrameError(f"a frame of {length} bytes")
            if len(self._pending) < HEADER.size + length:
                break
            body = bytes(self._pending[HEADER.size : HEADER.size + length])
            del self._pending[: HEADER.size + length]
            try:
                frames.append(Frame(Kind(kind), utterance, body))
            except ValueError:
                raise FrameError(f"a frame of kind {kind}") from None
        return frames
