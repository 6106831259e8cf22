"""The datagram, read back by a parser that follows the description of Unreal's source and not our encoder.

PyLiveLinkFace 0.1 (PyPI), which is made for Unreal and not by us, decodes our packets, and the order of its
FaceBlendShape is that of SHAPES + ROTATIONS, all 61: compared once, by hand.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.face.blendshapes import NAMES
from services.aurora.livelink_packet import ROTATIONS, SHAPES, Host, Subject, order

FLOATS = st.floats(width=32)


@dataclass(frozen=True)
class Packet:
    device: str
    subject: str
    frame: int
    part: float
    rate: tuple[int, int]
    values: tuple[float, ...]


class Reader:
    """Values in network byte order, one after the other; all must be taken."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, form: str) -> tuple[float, ...]:
        size = struct.calcsize(f"!{form}")
        head, self.data = self.data[:size], self.data[size:]
        return struct.unpack(f"!{form}", head)

    def text(self) -> str:
        (size,) = self.take("i")
        raw, self.data = self.data[: int(size)], self.data[int(size) :]
        return raw.decode()


def parse(data: bytes) -> Packet:
    reader = Reader(data)
    assert reader.take("B") == (6,)
    device, subject = reader.text(), reader.text()
    frame, part, numerator, denominator = reader.take("ifii")
    (count,) = reader.take("B")
    values = reader.take(f"{int(count)}f")
    assert not reader.data
    return Packet(device, subject, int(frame), part, (int(numerator), int(denominator)), values)


@given(
    st.text(st.characters(codec="ascii"), min_size=1, max_size=60),
    st.floats(0, 86400, exclude_max=True),
    st.lists(FLOATS, min_size=61, max_size=61),
)
def test_a_packet_is_read_back(subject: str, time_s: float, values: list[float]) -> None:
    packet = parse(Subject(subject, "device", 30).packet(time_s, values))
    assert (packet.device, packet.subject, packet.rate) == ("device", subject, (30, 1))
    assert 0 <= packet.part < 1
    assert (packet.frame + packet.part) / 30 == pytest.approx(time_s, abs=1e-3)
    for sent, value in zip(packet.values, values, strict=True):
        assert sent == (max(-1.0, min(1.0, value)) if math.isfinite(value) else 0.0)


def test_the_bytes_are_those_of_unreals_source() -> None:
    data = Subject("iPhone", "D", 60).packet(1.5, order(["jawOpen"], [1.0]))
    head = bytes.fromhex("06 00000001 44 00000006 6950686f6e65 0000005a 00000000 0000003c 00000001 3d")
    assert data == head + bytes(17 * 4) + bytes.fromhex("3f800000") + bytes(43 * 4)


@given(st.permutations([*SHAPES, "TongueUp", "TongueTipDown"]))
def test_any_order_of_names_becomes_unreals_and_the_unknown_are_left_out(names: list[str]) -> None:
    weights = [SHAPES.index(name) / 100 if name in SHAPES else 9.0 for name in names]
    assert order(names, weights) == [number / 100 for number in range(52)] + [0.0] * 9


def test_audio2faces_shapes_are_arkits() -> None:
    assert sorted(NAMES) == sorted(SHAPES)
    assert len(SHAPES + ROTATIONS) == 61


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("unreal.lan", Host("unreal.lan", 11111)),
        ("192.0.2.7:54321", Host("192.0.2.7", 54321)),
        ("[2001:db8::1]:9", Host("2001:db8::1", 9)),
    ],
)
def test_a_host_is_a_name_and_a_port(text: str, host: Host) -> None:
    assert Host.parse(text) == host


@pytest.mark.parametrize(
    "text", ["", ":11111", "host:0", "host:99999", "host:x", "http://host", "a@host", "[::1"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Host.parse(text)
