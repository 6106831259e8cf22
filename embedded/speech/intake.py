"""A client's bytes, of whatever shape, as PCM16 mono at 16 kHz.

NVIDIA's own scripts name neither encoding nor rate and send a WAV file as it is, header included, so
the first bytes are looked at before the configuration is believed.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from riva.client.proto import riva_audio_pb2

from shared.audio import MAX_RATE, MIN_RATE, RATE, Resampler
from shared.errors import AudioError

MAX_HEADER = 1 << 16  # bytes; where no data chunk began by then, it is no WAV that we know
UNKNOWN_SIZES = {0, 0x7FFFFFFF, 0xFFFFFFFF}  # what writers put there that do not know the length yet

_WAV_SUBTYPES = {
    (1, 8): "PCM_U8",
    (1, 16): "PCM_16",
    (1, 24): "PCM_24",
    (1, 32): "PCM_32",
    (3, 32): "FLOAT",
    (3, 64): "DOUBLE",
    (6, 8): "ALAW",
    (7, 8): "ULAW",
}
_WAVE_FORMAT_EXTENSIBLE = 0xFFFE

_ENCODINGS = {
    riva_audio_pb2.ENCODING_UNSPECIFIED: "PCM_16",
    riva_audio_pb2.LINEAR_PCM: "PCM_16",
    riva_audio_pb2.MULAW: "ULAW",
    riva_audio_pb2.ALAW: "ALAW",
}
_FILE_ENCODINGS = {riva_audio_pb2.FLAC, riva_audio_pb2.OGGOPUS}
_FILE_MAGIC = (b"fLaC", b"OggS")

_SAMPLE_BYTES = {
    "PCM_U8": 1, "ALAW": 1, "ULAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Format:
    """`subtype` is libsndfile's name of a headerless sample format, `rate` in Hz."""

    subtype: str
    rate: int
    channels: int

    @property
    def frame_bytes(self) -> int:
        return _SAMPLE_BYTES[self.subtype] * self.channels

    def check(self) -> Format:
        if not self.rate:
            raise AudioError("sample_rate_hertz must be set for audio without a WAV header")
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise AudioError(f"sample_rate_hertz {self.rate} is outside {MIN_RATE}..{MAX_RATE}")
        if not 1 <= self.channels <= 8:
            raise AudioError(f"audio_channel_count {self.channels} is outside 1..8")
        return self


@dataclass(frozen=True)
class WavHeader:
    """`size` is the length of the data chunk in bytes, None where the writer did not know it."""

    format: Format
    data_at: int
    size: int | None


def parse_wav_header(data: bytes) -> WavHeader | None:
    """The header of a WAV whose beginning is `data`; None while more of it is needed."""
    if len(data) < 12:
        return None
    if data[8:12] != b"WAVE":
        raise AudioError("a RIFF file that is no WAV")
    at, found = 12, None
    while len(data) >= at + 8:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"data":
            if found is None:
                raise AudioError("a WAV without a format chunk")
            return WavHeader(found, at + 8, None if size in UNKNOWN_SIZES else size)
        if name == b"fmt ":
            if len(data) < at + 8 + min(size, 40):
                return None
            found = _wav_format(data[at + 8 : at + 8 + size])
        at += 8 + size + (size & 1)
    return None


def _wav_format(chunk: bytes) -> Format:
    if len(chunk) < 16:
        raise AudioError("a WAV with a damaged format chunk")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _WAVE_FORMAT_EXTENSIBLE and len(chunk) >= 26:
        tag = int.from_bytes(chunk[24:26], "little")  # the first bytes of the sub-format's GUID
    subtype = _WAV_SUBTYPES.get((tag, bits))
    if subtype is None:
        raise AudioError(f"a WAV with format tag {tag} and {bits} bits; send PCM, A-law or mu-law")
    return Format(subtype, rate, channels).check()


class Intake:
    """Of one stream. `encoding` and the numbers are the configuration's; a WAV header overrules them."""

    def __init__(self, encoding: int, rate: int, channels: int) -> None:
        if encoding in _FILE_ENCODINGS:
            name = riva_audio_pb2.AudioEncoding.Name(encoding)
            raise AudioError(f"encoding {name} cannot be streamed here; send LINEAR_PCM, MULAW or ALAW")
        if encoding not in _ENCODINGS:
            raise AudioError(f"unknown encoding {encoding}; send LINEAR_PCM, MULAW or ALAW")
        self._configured = Format(_ENCODINGS[encoding], rate, channels or 1)
        self._decoder: _Decoder | None = None
        self._head = b""

    def feed(self, data: bytes) -> bytes:
        if self._decoder is not None:
            return self._decoder.feed(data)
        self._head += data
        if not self._head:
            return b""
        if not self._is_wav():
            self._decoder = _Decoder(self._configured.check(), None)
        elif (header := self._wav_header()) is not None:
            self._decoder = _Decoder(header.format, header.size)
            self._head = self._head[header.data_at :]
        else:
            return b""
        head, self._head = self._head, b""
        return self._decoder.feed(head)

    def finish(self) -> bytes:
        """The tail of the resampling filter."""
        if self._decoder is None and self._head:
            raise AudioError("a WAV that ends within its header")
        return self._decoder.finish() if self._decoder else b""

    def _is_wav(self) -> bool:
        return self._head[:4] == b"RIFF"[: len(self._head)]

    def _wav_header(self) -> WavHeader | None:
        header = parse_wav_header(self._head)
        if header is None and len(self._head) > MAX_HEADER:
            raise AudioError(f"a WAV without a data chunk in its first {MAX_HEADER} bytes")
        return header


class _Decoder:
    """Raw frames of one format; a torn frame waits for its other part."""

    def __init__(self, source: Format, size: int | None) -> None:
        self._format = source
        self._left = size
        self._torn = b""
        self._resampler = Resampler(source.rate, RATE)

    def feed(self, data: bytes) -> bytes:
        if self._left is not None:  # what follows the data chunk of a WAV is no sound
            data = data[: self._left]
            self._left -= len(data)
        data = self._torn + data
        whole = len(data) - len(data) % self._format.frame_bytes
        self._torn = data[whole:]
        return self._resampler.feed(self._mono(data[:whole])) if whole else b""

    def finish(self) -> bytes:
        return self._resampler.feed(b"", last=True)

    def _mono(self, data: bytes) -> bytes:
        if self._format.subtype == "PCM_16" and self._format.channels == 1:
            return data
        samples, _ = soundfile.read(
            io.BytesIO(data),
            dtype="float32",
            always_2d=True,
            format="RAW",
            subtype=self._format.subtype,
            samplerate=self._format.rate,
            channels=self._format.channels,
            endian="LITTLE",
        )
        return to_pcm16(samples.mean(axis=1))


def read_recording(data: bytes, encoding: int, rate: int, channels: int) -> bytes:
    """A whole recording: what Intake takes, and FLAC and Ogg by their own headers."""
    if data[:4] in _FILE_MAGIC:
        try:
            samples, source = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"the audio cannot be read ({error})") from None
        resampler = Resampler(int(source), RATE)
        return resampler.feed(to_pcm16(samples.mean(axis=1)), last=True)
    intake = Intake(encoding, rate, channels)
    return intake.feed(data) + intake.finish()


def to_pcm16(samples: NDArray[Any]) -> bytes:
    """Floats from -1 to 1."""
    pcm: NDArray[np.int16] = (np.clip(samples, -1.0, 1.0) * 32767.0).round().astype("<i2")
    return pcm.tobytes()
