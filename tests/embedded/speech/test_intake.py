from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from riva.client.proto import riva_audio_pb2

from embedded.speech.intake import MAX_HEADER, Intake, parse_wav_header, read_recording
from shared.errors import AudioError

TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)).astype(np.float32)  # half a second
PCM = (TONE * 32767).astype("<i2").tobytes()


def file(rate: int = 16000, channels: int = 1, **options: Any) -> bytes:
    buffer = io.BytesIO()
    samples = np.interp(np.arange(0, 0.5, 1 / rate), np.arange(8000) / 16000, TONE)
    options = {"format": "WAV", "subtype": "PCM_16"} | options
    soundfile.write(buffer, np.column_stack([samples] * channels), rate, **options)
    return buffer.getvalue()


def fed(data: bytes, cuts: list[int], encoding: int = 0, rate: int = 0, channels: int = 0) -> bytes:
    intake, out, at = Intake(encoding, rate, channels), b"", 0
    for size in (*cuts, len(data)):
        out += intake.feed(data[at : at + size])
        at += size
    return out + intake.finish()


def likeness(pcm: bytes) -> float:
    """Correlation with the tone, 1.0 for the tone itself, over their common middle."""
    heard = np.frombuffer(pcm, "<i2").astype(np.float32)[:8000]
    middle = slice(500, min(len(heard), 7500))
    return float(np.corrcoef(heard[middle], TONE[middle])[0, 1])


@given(st.lists(st.integers(1, 700), max_size=20))
def test_raw_pcm_passes_unchanged_however_it_is_cut(cuts: list[int]) -> None:
    assert fed(PCM, cuts, rate=16000) == PCM


@given(st.lists(st.integers(1, 700), max_size=20))
def test_a_wav_header_is_found_however_it_is_cut(cuts: list[int]) -> None:
    assert fed(file(), cuts) == fed(file(), [])
    assert likeness(fed(file(), cuts)) > 0.999


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_rate_and_stereo_become_16_khz_mono(rate: int, channels: int) -> None:
    assert likeness(fed(file(rate, channels), [1000, 333])) > 0.99


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW", "ALAW"])
def test_every_common_kind_of_wav_is_read(subtype: str) -> None:
    assert likeness(fed(file(subtype=subtype), [])) > 0.99


def test_an_extensible_header_is_read() -> None:
    assert likeness(fed(file(format="WAVEX"), [])) > 0.99


def test_the_header_overrules_the_configuration() -> None:
    assert likeness(fed(file(8000), [], riva_audio_pb2.LINEAR_PCM, 48000, 2)) > 0.99


def test_a_stream_with_an_unknown_length_is_read_to_its_end() -> None:
    wav = bytearray(file())
    size_at = wav.index(b"data") + 4
    wav[size_at : size_at + 4] = b"\xff\xff\xff\xff"
    assert fed(bytes(wav), []) == fed(file(), [])


def test_what_follows_the_data_chunk_is_no_sound() -> None:
    assert fed(file() + b"LIST\x04\x00\x00\x00abcd", []) == fed(file(), [])


@pytest.mark.parametrize(
    ("encoding", "subtype"), [(riva_audio_pb2.MULAW, "ULAW"), (riva_audio_pb2.ALAW, "ALAW")]
)
def test_telephone_encodings_are_streamed(encoding: int, subtype: str) -> None:
    raw = file(8000, format="RAW", subtype=subtype)
    assert likeness(fed(raw, [77], encoding, 8000)) > 0.99


@pytest.mark.parametrize(("kind", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_a_whole_recording_may_be_a_compressed_file(kind: str, subtype: str) -> None:
    pcm = read_recording(file(48000, format=kind, subtype=subtype), 0, 0, 0)
    assert likeness(pcm) > 0.9


@pytest.mark.parametrize(
    ("encoding", "rate", "channels", "message"),
    [
        (0, 0, 1, "sample_rate_hertz must be set"),
        (0, 7999, 1, "outside 8000..96000"),
        (0, 16000, 9, "outside 1..8"),
        (riva_audio_pb2.FLAC, 16000, 1, "FLAC cannot be streamed"),
        (riva_audio_pb2.OGGOPUS, 16000, 1, "OGGOPUS cannot be streamed"),
        (77, 16000, 1, "unknown encoding 77"),
    ],
)
def test_what_cannot_be_served_is_named(encoding: int, rate: int, channels: int, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        fed(PCM, [], encoding, rate, channels)


@pytest.mark.parametrize(
    ("wav", "message"),
    [
        (b"RIFF\x00\x00\x00\x00AVI " + bytes(40), "no WAV"),
        (b"RIFF\x00\x00\x00\x00WAVEdata\x04\x00\x00\x00abcd", "without a format"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt \x04\x00\x00\x00abcddata", "damaged"),
        (
            b"RIFF\x00\x00\x00\x00WAVE" + b"junk\x00\x00\x00\x00" * (MAX_HEADER // 8 + 1),
            "without a data chunk",
        ),
        (b"RIFF\x00\x00", "ends within its header"),
    ],
)
def test_a_broken_wav_is_named(wav: bytes, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        fed(wav, [])


def test_a_compressed_wav_is_named() -> None:
    chunk = struct.pack("<HHIIHH", 2, 1, 16000, 8000, 256, 4)  # tag 2: ADPCM
    with pytest.raises(AudioError, match="format tag 2"):
        fed(b"RIFF\x00\x00\x00\x00WAVEfmt " + struct.pack("<I", len(chunk)) + chunk, [])


@settings(max_examples=300)
@given(st.binary(max_size=120))
def test_no_bytes_after_a_riff_header_break_the_parser(rest: bytes) -> None:
    try:
        header = parse_wav_header(b"RIFF\x00\x00\x00\x00WAVE" + rest)
    except AudioError:
        return
    assert header is None or header.data_at <= 12 + len(rest)


def test_nothing_is_nothing() -> None:
    assert fed(b"", []) == b""
