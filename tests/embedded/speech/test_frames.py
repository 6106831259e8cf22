from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.speech.frames import HEADER, MAX_BODY, Frame, FrameError, FrameReader, Kind

frames = st.builds(Frame, st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=200))


@given(st.lists(frames, max_size=10), st.lists(st.integers(1, 50), max_size=20))
def test_frames_survive_any_cutting_of_the_stream(sent: list[Frame], cuts: list[int]) -> None:
    stream = b"".join(frame.pack() for frame in sent)
    reader, received, at = FrameReader(), list[Frame](), 0
    for size in (*cuts, len(stream)):
        received += reader.feed(stream[at : at + size])
        at += size
    assert received == sent


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(FrameError, match="kind 99"):
        FrameReader().feed(HEADER.pack(0, 99, 1))


def test_an_absurd_length_is_refused_before_it_is_waited_for() -> None:
    with pytest.raises(FrameError, match="bytes"):
        FrameReader().feed(HEADER.pack(MAX_BODY + 1, Kind.AUDIO, 1))
