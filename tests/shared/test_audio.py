"""Sound as Voxloop has it everywhere: PCM16 mono little-endian bytes, whole samples, at a named rate."""

from __future__ import annotations

import io
import struct
import wave
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.audio import (
    MAX_RATE,
    MIN_RATE,
    RATE,
    Resampler,
    WholeSamples,
    check_rate,
    duration_s,
    is_silent,
    peak_dbfs,
    read_wav,
    write_wav,
)
from shared.errors import AudioError

EVERY_SAMPLE = np.arange(-32768, 32768).astype("<i2")
RATES = [8000, 16000, 22050, 24000, 44100, 48000]


def tone(rate: int, seconds: float = 0.5, hertz: float = 440.0, level: float = 0.5) -> NDArray[np.float64]:
    return level * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def pcm16(samples: NDArray[np.float64]) -> bytes:
    return np.rint(samples * 32767).astype("<i2").tobytes()


def samples_of(pcm: bytes) -> NDArray[np.float64]:
    return np.frombuffer(pcm, "<i2") / 32768


def rms(samples: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def wav(samples: NDArray[np.generic], rate: int, subtype: str = "PCM_16", container: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, subtype=subtype, format=container)
    return buffer.getvalue()


def cuts(data: bytes, points: list[int], unit: int = 1) -> list[bytes]:
    edges = [0, *sorted(point * unit % (len(data) + unit) for point in points), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


# Chunks that arrive


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0), max_size=20))
def test_whole_samples_come_out_in_order_however_the_bytes_are_cut(data: bytes, points: list[int]) -> None:
    whole = WholeSamples()
    out = [whole.feed(chunk) for chunk in cuts(data, points)]
    assert all(len(piece) % 2 == 0 for piece in out)
    assert b"".join(out) == data[: len(data) // 2 * 2]


@given(st.binary(max_size=50))
def test_no_sample_waits_longer_than_for_its_second_byte(data: bytes) -> None:
    whole = WholeSamples()
    assert sum(len(whole.feed(data[i : i + 1])) for i in range(len(data))) == len(data) // 2 * 2


# Resampling


@settings(max_examples=30)
@given(
    st.sampled_from(RATES),
    st.sampled_from(RATES),
    st.lists(st.integers(0, 30000), max_size=30),
    st.booleans(),
)
def test_resampling_gives_the_same_length_and_sound_however_the_chunks_are_cut(
    source: int, target: int, points: list[int], flushed_apart: bool
) -> None:
    samples = pcm16(tone(source, 0.3))
    whole = Resampler(source, target).feed(samples, last=True)
    chunked = Resampler(source, target)
    pieces = cuts(samples, points, unit=2)
    out = b"".join(chunked.feed(piece) for piece in pieces[: None if flushed_apart else -1])
    out += chunked.feed(b"" if flushed_apart else pieces[-1], last=True)
    assert abs(len(out) - len(whole)) <= 2 * 2
    common = min(len(out), len(whole))
    difference = samples_of(out[:common]) - samples_of(whole[:common])
    assert np.abs(difference).max() < 1e-3


@pytest.mark.parametrize("source", RATES)
@pytest.mark.parametrize("target", RATES)
def test_resampling_keeps_the_duration_and_the_energy(source: int, target: int) -> None:
    sound = tone(source)
    out = Resampler(source, target).feed(pcm16(sound), last=True)
    assert duration_s(out, target) == pytest.approx(0.5, abs=2 / target)
    edge = target // 50
    assert rms(samples_of(out)[edge:-edge]) == pytest.approx(rms(sound), rel=0.01)


def test_resampling_does_not_fold_what_the_target_cannot_hold() -> None:
    out = Resampler(48000, 16000).feed(pcm16(tone(48000, hertz=11000)), last=True)
    assert rms(samples_of(out)[800:-800]) < 1e-3


def test_equal_rates_pass_the_bytes_on() -> None:
    resampler = Resampler(RATE, RATE)
    assert resampler.feed(EVERY_SAMPLE.tobytes()) == EVERY_SAMPLE.tobytes()
    assert resampler.feed(b"", last=True) == b""


def test_a_resampler_takes_an_empty_chunk() -> None:
    assert Resampler(48000, RATE).feed(b"") == b""


@pytest.mark.parametrize("rate", [MIN_RATE - 1, MAX_RATE + 1, 0, -16000, 2**63])
def test_a_rate_that_is_none_is_refused(rate: int) -> None:
    with pytest.raises(AudioError, match=f"sample rate {rate} Hz is outside"):
        check_rate(rate)
    with pytest.raises(AudioError):
        Resampler(rate, RATE)
    with pytest.raises(AudioError):
        Resampler(RATE, rate)


# WAV files


def test_what_is_pcm16_mono_at_the_rate_comes_back_sample_for_sample(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", EVERY_SAMPLE.tobytes(), RATE)
    assert read_wav(tmp_path / "a.wav") == EVERY_SAMPLE.tobytes()


def test_a_written_file_is_what_the_standard_library_reads(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", EVERY_SAMPLE.tobytes(), 22050)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 22050)
        assert file.readframes(file.getnframes()) == EVERY_SAMPLE.tobytes()


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]
)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_depth_and_any_number_of_channels(container: str, subtype: str, channels: int) -> None:
    sound = tone(RATE)
    pcm = read_wav(wav(np.stack([sound] * channels, axis=1), RATE, subtype, container))
    assert len(pcm) == 2 * len(sound)
    assert np.abs(samples_of(pcm) - sound).max() < 0.03  # what 8 bits leave


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 32000, 44100, 48000, 96000, 192000])
def test_any_rate(tmp_path: Path, rate: int) -> None:
    sound = tone(rate)
    (tmp_path / "a.wav").write_bytes(wav(sound, rate))
    pcm = read_wav(tmp_path / "a.wav")
    assert duration_s(pcm) == pytest.approx(0.5, abs=2 / RATE)
    assert rms(samples_of(pcm)[320:-320]) == pytest.approx(rms(sound), rel=0.01)


def test_channels_are_mixed_evenly() -> None:
    left, right = np.full(1000, 0.5), np.full(1000, -0.25)
    assert samples_of(read_wav(wav(np.stack([left, right], axis=1), RATE))) == pytest.approx(0.125, abs=1e-4)


def test_what_is_louder_than_full_scale_is_clipped_and_does_not_wrap() -> None:
    pcm = read_wav(wav(np.array([2.0, -2.0, 3e38, -3e38], np.float32), RATE, "FLOAT"))
    assert np.frombuffer(pcm, "<i2").tolist() == [32767, -32768, 32767, -32768]


@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf, 1e300])
def test_samples_that_are_not_numbers_are_refused(worst: float) -> None:
    sound = tone(RATE)
    sound[100] = worst
    with (
        np.errstate(over="ignore"),
        pytest.raises(AudioError, match="the upload holds samples that are not numbers"),
    ):
        read_wav(wav(sound, RATE, "DOUBLE"))


def test_a_truncated_file_gives_what_is_there() -> None:
    whole = wav(EVERY_SAMPLE, RATE)
    assert read_wav(whole[:5001]) == EVERY_SAMPLE[: (5001 - 44) // 2].tobytes()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a readable WAV file"),
        (b"RIFF", "not a readable WAV file"),
        (b"a page of text, and no sound at all. " * 10, "not a readable WAV file"),
        (wav(EVERY_SAMPLE, RATE)[:30], "not a readable WAV file"),
        (wav(EVERY_SAMPLE, RATE, container="FLAC"), r"not a readable WAV file \(FLAC, PCM_16\)"),
        (wav(EVERY_SAMPLE, RATE, container="AIFF"), "not a readable WAV file"),
        (wav(EVERY_SAMPLE, RATE)[:44], "holds no audio"),
        (wav(EVERY_SAMPLE[:0], RATE), "holds no audio"),
        (wav(EVERY_SAMPLE, 1), "is at 1 Hz, outside"),
        (wav(EVERY_SAMPLE, 7999), "is at 7999 Hz, outside"),
        (wav(EVERY_SAMPLE, 2**31 - 1), "is at 2147483647 Hz, outside"),
    ],
)
def test_what_is_no_usable_wav_is_refused_and_named(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(AudioError, match=f"^the upload (is )?{told}"):
        read_wav(content)
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match=f"^{tmp_path / 'a.wav'} (is )?{told}"):
        read_wav(tmp_path / "a.wav")


def test_a_file_that_is_not_there_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"none\.wav does not exist"):
        read_wav(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="not a readable WAV file"):
        read_wav(tmp_path)


def test_a_suffix_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(wav(EVERY_SAMPLE, RATE))
    assert read_wav(tmp_path / "a.raw") == EVERY_SAMPLE.tobytes()
    (tmp_path / "b.raw").write_bytes(EVERY_SAMPLE.tobytes())
    with pytest.raises(AudioError):
        read_wav(tmp_path / "b.raw")


def test_a_header_that_claims_terabytes_is_not_believed() -> None:
    flac = bytearray(wav(EVERY_SAMPLE, RATE, container="FLAC"))
    flac[21] |= 0x0F  # STREAMINFO: 36 bits of total samples
    flac[22:26] = b"\xff" * 4
    with pytest.raises(AudioError):
        read_wav(bytes(flac))
    riff = bytearray(wav(EVERY_SAMPLE, RATE))
    riff[4:8] = riff[40:44] = struct.pack("<I", 2**32 - 1)
    assert read_wav(bytes(riff)) == EVERY_SAMPLE.tobytes()


GOOD = wav(tone(RATE, 0.02), RATE)


@given(
    st.dictionaries(st.integers(0, 60), st.integers(0, 255), min_size=1, max_size=8),
    st.integers(0, len(GOOD)),
)
@example({22: 0, 23: 4}, len(GOOD))  # 1024 channels
@example({24: 0, 25: 0, 26: 0, 27: 0}, len(GOOD))  # 0 Hz
@example({20: 0x31}, len(GOOD))  # GSM 6.10
def test_a_damaged_file_is_audio_or_an_audio_error(
    tmp_path_factory: pytest.TempPathFactory, damage: dict[int, int], length: int
) -> None:
    content = bytearray(GOOD)
    for place, byte in damage.items():
        content[place] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.wav"
    path.write_bytes(content[:length])
    with suppress(AudioError):
        assert 0 < len(read_wav(path)) <= 16 * len(content), "a small file does not become a huge one"


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"none/a\.wav cannot be written"):
        write_wav(tmp_path / "none" / "a.wav", b"", RATE)


# Silence


def test_the_level_is_that_of_the_loudest_20_ms() -> None:
    assert peak_dbfs(pcm16(tone(RATE, level=1.0))) == pytest.approx(-3.0, abs=0.1)
    click = np.zeros(RATE)
    click[5000 : 5000 + RATE // 50] = tone(RATE, 0.02, level=0.1)
    assert peak_dbfs(pcm16(click)) == pytest.approx(-23.0, abs=3.1), "one window of many"


@pytest.mark.parametrize("pcm", [b"", bytes(2), bytes(2 * RATE), pcm16(tone(RATE, level=0.0004))])
def test_silence_is_silent(pcm: bytes) -> None:
    assert is_silent(pcm)


@pytest.mark.parametrize("pcm", [pcm16(tone(RATE, level=0.01)), b"\x00\x80", EVERY_SAMPLE.tobytes()])
def test_a_quiet_voice_is_not_silent(pcm: bytes) -> None:
    assert not is_silent(pcm)


@given(st.binary(max_size=2000), st.integers(MIN_RATE, MAX_RATE))
def test_no_sound_is_louder_than_full_scale(data: bytes, rate: int) -> None:
    level = peak_dbfs(data[: len(data) // 2 * 2], rate)
    assert level <= 0.0
    assert not np.isnan(level)


def test_speech_is_not_silent(clips: Path) -> None:
    recordings = sorted(clips.rglob("*.wav"))
    assert recordings
    for path in recordings[:5]:
        assert not is_silent(read_wav(path)), path


def test_duration_is_samples_over_rate() -> None:
    assert duration_s(bytes(2 * 24000), 24000) == 1.0
    assert duration_s(b"") == 0.0
