"""espeak-ng through ctypes (the library and its data come with espeakng-loader).

The library is one global state, so there is one Espeak in a process and one lock in it. It is some
1700 times faster than speech, so nobody waits long. API: espeak-ng/speak_lib.h. espeak-ng is GPL-3;
only this server, a process of its own, loads it.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass

import espeakng_loader

from embedded.speech.voices import Voice
from shared.errors import StartupError

_OUTPUT_SYNCHRONOUS = 2
_CHUNK_MS = 40
_INIT_EVENTS = 0x0003 | 0x8000  # phoneme events, by their IPA names; never call exit()
_CHARS_UTF8, _SSML, _PHONEMES, _END_PAUSE = 0x1, 0x10, 0x100, 0x1000
_POSITION_CHARACTER = 1
_EVENT_END_OF_LIST, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7
_OK = 0


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class WordMark:
    """A word begins: `at` its first character in the text, `length` characters, `start_ms` in the sound."""

    at: int
    length: int
    start_ms: int


@dataclass(frozen=True)
class PhoneMark:
    """A phone begins, by its IPA name; a silent one is a pause."""

    ipa: str
    start_ms: int

    @property
    def is_pause(self) -> bool:
        return not self.ipa.strip("_:")


Mark = WordMark | PhoneMark
Sink = Callable[[bytes, list[Mark]], bool]
"""Takes PCM16 at Espeak.rate and the marks of what follows; returns False to stop the synthesis."""


class Espeak:
    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(espeakng_loader.get_library_path())  # type: ignore[no-untyped-call]
        except OSError as error:
            raise StartupError(f"espeak-ng cannot be loaded ({error}).", hint="Run `make setup`.") from None
        data = espeakng_loader.get_data_path().encode()  # type: ignore[no-untyped-call]
        self.rate = self._library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, _CHUNK_MS, data, _INIT_EVENTS)
        if self.rate <= 0:
            raise StartupError(f"espeak-ng found no voice data in {data.decode()}.", hint="Run `make setup`.")
        self._library.espeak_Synth.argtypes = (
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
            ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
        )  # fmt: skip
        self._lock = threading.Lock()
        self._sink: Sink = lambda sound, marks: False  # noqa: ARG005 - nothing is spoken yet
        self._callback = _CALLBACK(self._on_sound)  # kept: the library holds only its address
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: Voice, sink: Sink, ssml: bool = False, phonemes: bool = False) -> None:
        """Returns when all of it went to `sink`. Blocks; the sink is called on this thread."""
        flags = _CHARS_UTF8 | _END_PAUSE | (_SSML if ssml else 0) | (_PHONEMES if phonemes else 0)
        encoded = text.encode() + b"\0"
        with self._lock:
            self._sink = sink
            if self._library.espeak_SetVoiceByName(voice.espeak.encode()) != _OK:
                raise StartupError(f"espeak-ng has no voice {voice.espeak}.", hint="Run `make setup`.")
            self._library.espeak_Synth(encoded, len(encoded), 0, _POSITION_CHARACTER, 0, flags, None, None)

    def _on_sound(self, wav: object, count: int, events: object) -> int:
        sound = ctypes.string_at(wav, count * 2) if wav and count > 0 else b""  # type: ignore[arg-type]
        return 0 if self._sink(sound, _marks(events)) else 1


def _marks(events: object) -> list[Mark]:
    marks: list[Mark] = []
    index = 0
    while (event := events[index]).type != _EVENT_END_OF_LIST:  # type: ignore[index]
        if event.type == _EVENT_WORD:
            marks.append(WordMark(event.text_position - 1, event.length, event.audio_position))
        elif event.type == _EVENT_PHONEME:
            marks.append(PhoneMark(event.id.string.decode("utf-8", "replace"), event.audio_position))
        index += 1
    return marks
