from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.face.features import BANDS, CEILING, CENTRES, FLOOR, HOP, RATE, WINDOW, Level, LogMel

NOISE = np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)


@pytest.mark.parametrize("frequency", [250.0, 1000.0, 3000.0, 6000.0])
def test_a_tone_is_loudest_in_the_band_around_it(frequency: float) -> None:
    tone = np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE).astype(np.float32)
    features = LogMel().feed(tone)
    assert features[50].argmax() == np.abs(CENTRES - frequency).argmin()


def test_a_second_gives_the_hops_whose_windows_lie_inside_it() -> None:
    features = LogMel().feed(NOISE)
    assert features.shape == ((RATE + (WINDOW - HOP) // 2 - WINDOW) // HOP + 1, BANDS)


@given(st.lists(st.integers(0, 2000), max_size=30))
def test_the_hops_do_not_depend_on_how_the_sound_was_cut(sizes: list[int]) -> None:
    mel, parts, position = LogMel(), [], 0
    for size in sizes:
        parts.append(mel.feed(NOISE[position : position + size]))
        position += size
    parts.append(mel.feed(NOISE[position:]))
    assert np.allclose(np.concatenate(parts), LogMel().feed(NOISE), atol=1e-4)


def test_a_quiet_voice_reads_like_a_loud_one_once_its_level_is_known() -> None:
    loud, quiet = (
        Level().feed(LogMel().feed(np.tile(NOISE, 2) * gain))[-50:]
        for gain in (np.float32(1), np.float32(0.1))
    )
    assert np.abs(loud - quiet).mean() < 0.1


def test_silence_is_the_floor_and_a_burst_stays_under_the_ceiling() -> None:
    level = Level()
    assert (level.feed(LogMel().feed(np.zeros(RATE, np.float32))) == FLOOR).all()
    assert level.feed(LogMel().feed(NOISE * 10)).max() <= CEILING
