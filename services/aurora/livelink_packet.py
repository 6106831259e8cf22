"""The datagram that Unreal's ARKit face source reads (plugin AppleARKitFaceSupport, port 11111).

Version 6, everything in network byte order:

    u8   version, 6
    i32  length, then as many bytes: the device's id
    i32  length, then as many bytes: the subject's name
    i32  frame number, f32 part of a frame, i32 numerator and i32 denominator of the frame rate
    u8   count, 61
    f32  … of them: ARKit's 52 shapes and 9 rotations, by the numbers of EARFaceBlendShape
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

PORT = 11111
VERSION = 6
MAX_NAME_BYTES = 255
"""The source's buffer has room for 256 characters of either name."""

SHAPES = tuple(
    "EyeBlinkLeft EyeLookDownLeft EyeLookInLeft EyeLookOutLeft EyeLookUpLeft EyeSquintLeft "
    "EyeWideLeft EyeBlinkRight EyeLookDownRight EyeLookInRight EyeLookOutRight EyeLookUpRight "
    "EyeSquintRight EyeWideRight JawForward JawLeft JawRight JawOpen MouthClose MouthFunnel "
    "MouthPucker MouthLeft MouthRight MouthSmileLeft MouthSmileRight MouthFrownLeft MouthFrownRight "
    "MouthDimpleLeft MouthDimpleRight MouthStretchLeft MouthStretchRight MouthRollLower "
    "MouthRollUpper MouthShrugLower MouthShrugUpper MouthPressLeft MouthPressRight MouthLowerDownLeft "
    "MouthLowerDownRight MouthUpperUpLeft MouthUpperUpRight BrowDownLeft BrowDownRight BrowInnerUp "
    "BrowOuterUpLeft BrowOuterUpRight CheekPuff CheekSquintLeft CheekSquintRight NoseSneerLeft "
    "NoseSneerRight TongueOut".split()
)
ROTATIONS = tuple(
    "HeadYaw HeadPitch HeadRoll LeftEyeYaw LeftEyePitch LeftEyeRoll RightEyeYaw RightEyePitch "
    "RightEyeRoll".split()
)
_NUMBERS = {name.lower(): number for number, name in enumerate(SHAPES + ROTATIONS)}
_VALUES = struct.Struct(f"!B{len(_NUMBERS)}f")


@dataclass(frozen=True)
class Host:
    name: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Host:
        """`host`, `host:port`, an IPv6 address in brackets. Raises ValueError."""
        url = urlsplit(f"//{text}")
        port = PORT if url.port is None else url.port
        if not url.hostname or url.path or url.username is not None or not port:
            raise ValueError(f"{text!r} is no host:port; e.g. 192.0.2.7 or unreal.lan:{PORT}")
        return cls(url.hostname, port)

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


class Subject:
    """One face as Unreal lists it."""

    def __init__(self, name: str, device: str, fps: int) -> None:
        self._head = struct.pack("!B", VERSION) + _text(device) + _text(name)
        self._fps = fps

    def packet(self, time_s: float, values: Sequence[float]) -> bytes:
        """`time_s` is the time of day, which is Unreal's timecode; `values` come from `order`. What is not
        finite is sent as 0: one such number would spoil the pose until the next frame."""
        frames = time_s * self._fps
        whole = math.floor(frames)
        when = struct.pack("!ifii", whole, min(frames - whole, 0.999), self._fps, 1)
        sane = (min(1.0, max(-1.0, value)) if math.isfinite(value) else 0.0 for value in values)
        return self._head + when + _VALUES.pack(len(_NUMBERS), *sane)


def order(names: Iterable[str], weights: Iterable[float]) -> list[float]:
    """The 61 values of a frame; what Unreal does not know (a tongue's shapes) is left out."""
    values = [0.0] * len(_NUMBERS)
    for name, weight in zip(names, weights, strict=False):
        if (number := _NUMBERS.get(name.lower())) is not None:
            values[number] = weight
    return values


def _text(name: str) -> bytes:
    raw = name.encode()[:MAX_NAME_BYTES]
    return struct.pack("!i", len(raw)) + raw
