"""From the sound card's rate to the session's: what can be heard stays, what cannot is gone."""

from __future__ import annotations

import pytest

from tests.web.conftest import Visit

TONE = """
const resampler = new it.Resampler(%d, 16000);
const input = Float32Array.from({length: %d}, (_, index) => Math.sin(2 * Math.PI * %d * index / %d));
const output = [];
for (let start = 0; start < input.length; start += 128)
  output.push(...resampler.feed(input.slice(start, start + 128)));
const middle = output.slice(2000, -2000);
const power = middle.reduce((sum, sample) => sum + sample * sample, 0) / middle.length;
return [output.length, Math.sqrt(2 * power)];
"""


async def tone(guest: Visit, rate: int, hz: int) -> tuple[int, float]:
    """One second of a full tone: how many samples come out, and the amplitude of the steady part."""
    length, amplitude = await guest.module("resampler.js", TONE % (rate, rate, hz, rate))
    return length, amplitude


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
async def test_speech_passes_unchanged_at_every_rate(guest: Visit, rate: int) -> None:
    length, amplitude = await tone(guest, rate, 1000)
    assert 16000 - 80 <= length <= 16000  # the filter holds back at most 5 ms
    assert amplitude == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
async def test_nothing_folds_back_from_above(guest: Visit, rate: int) -> None:
    _, amplitude = await tone(guest, rate, 9000)
    assert amplitude < 0.001
