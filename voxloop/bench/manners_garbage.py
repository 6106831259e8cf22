"""What clients send that are broken, or mean harm, on either wire of a voice session.

Made by a seed. Every message knows whether an error has to answer it.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from websockets.frames import Close, Frame, Opcode

from services.sophia import realtime_events, voice_messages
from shared.app import MAX_WS_MESSAGE
from shared.errors import InputError

JUNK: tuple[Any, ...] = (
    *(None, True, -1, 0.5, 1e308, float("nan"), 2**70, "", "x" * 5000, "\0", "\ud800", "../../etc/passwd"),
    *([], {}, [[]], {"type": {}}, {"a": {"b": {"c": []}}}, [None] * 300),
)
SPLIT_EVERY = 7
"""One message in so many comes in pieces."""
LONGEST = 2 * MAX_WS_MESSAGE
CLAIMED = 1 << 40
"""Bytes of a message that does not follow."""
DEPTH = 50_000
AUDIO = 1 << 15
SENTINEL = '{"type": "are.you.still.there"}'
"""Refused on both wires, by an error of its own."""


@dataclass(frozen=True)
class Garbage:
    """One message as it goes into the socket."""

    kind: str
    wire: bytes
    is_refused: bool = False
    """An error answers it, if the session lives on."""
    ends: bool = False
    """No WebSocket goes on behind this: the server closes it with a code."""
    is_cut: bool = False
    """The client breaks off in the middle of it."""


@dataclass(frozen=True)
class Vocabulary:
    """How one wire is spoken to."""

    path: str
    parse: Callable[[str], object]
    messages: Callable[[random.Random], dict[str, Any]]
    hears_binary: bool

    def is_refused(self, text: str) -> bool:
        try:
            self.parse(text)
        except InputError:
            return True
        return False


def _voice(rng: random.Random) -> dict[str, Any]:
    """In any order: most are right at another time."""
    start = {"type": "session.start", "language": "en-US", "animation": False, "sample_rate": 16000}
    return rng.choice(
        (
            start | {"tools": [{"name": "look", "description": "looks", "parameters": {"type": "object"}}]},
            start | {"resume": "0" * 32},
            {"type": "text", "text": rng.choice(("hello", " ", "x" * 3000, "session 9 turn 1 for 200"))},
            {"type": "tool.result", "call_id": "call_1", "output": "{}"},
            {"type": "playback", "played_ms": rng.choice((0, 20.5, 1e12))},
            {"type": "cancel"},
            {"type": "session.end"} if rng.random() < 0.03 else {"type": "cancel"},
        )
    )


def _realtime(rng: random.Random) -> dict[str, Any]:
    sound = base64.b64encode(rng.randbytes(rng.randrange(AUDIO // 4))).decode()
    content = [{"type": "input_text", "text": rng.choice(("hello", " ", "x" * 3000))}]
    session = {"type": "realtime", "instructions": "Be brief.", "output_modalities": ["audio"]}
    hears = {"input": {"turn_detection": rng.choice((None, {"type": "server_vad"}))}}
    message: dict[str, Any] = rng.choice(
        (
            {"type": "session.update", "session": session | {"audio": hears}},
            {"type": "input_audio_buffer.append", "audio": sound},
            {"type": "input_audio_buffer.commit"},
            {"type": "input_audio_buffer.clear"},
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "user", "content": content},
            },
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "c", "output": ""},
            },
            {
                "type": "conversation.item.truncate",
                "item_id": "item_1",
                "content_index": 0,
                "audio_end_ms": 20,
            },
            {"type": "response.create"},
            {"type": "response.create", "response": {"output_modalities": ["text"]}},
            {"type": "response.cancel"},
        )
    )
    return message | {"event_id": f"event_{rng.randrange(1 << 30)}"}


VOICE = Vocabulary("/sophia/voice", voice_messages.parse, _voice, hears_binary=True)
REALTIME = Vocabulary("/v1/realtime", realtime_events.parse, _realtime, hears_binary=False)


def garbage(words: Vocabulary, rng: random.Random) -> Garbage:
    """The next message: mostly nonsense in whole messages, now and then one that breaks the WebSocket."""
    (kind,) = rng.choices(tuple(_MAKERS), [weight for weight, _ in _MAKERS.values()])
    return _MAKERS[kind][1](words, rng)


def _text(kind: str, words: Vocabulary, text: str, rng: random.Random) -> Garbage:
    data = text.encode("utf-8", "surrogatepass")
    try:
        data.decode()
    except UnicodeDecodeError:  # half a character is no text: RFC 6455 closes for it, with 1007
        return Garbage(kind, _framed(Opcode.TEXT, data, rng), ends=True)
    if len(data) > MAX_WS_MESSAGE:
        return Garbage(kind, _framed(Opcode.TEXT, data, rng), ends=True)
    return Garbage(kind, _framed(Opcode.TEXT, data, rng), words.is_refused(text))


def _framed(opcode: Opcode, data: bytes, rng: random.Random) -> bytes:
    """In one frame, or in several with a ping between them."""
    if rng.randrange(SPLIT_EVERY) or len(data) < 2:
        return Frame(opcode, data).serialize(mask=True)
    at = rng.randrange(len(data))
    frames = (
        Frame(opcode, data[:at], fin=False),
        Frame(Opcode.PING, b"still there?"),
        Frame(Opcode.CONT, data[at:]),
    )
    return b"".join(frame.serialize(mask=True) for frame in frames)


def _disordered(words: Vocabulary, rng: random.Random) -> Garbage:
    return _text("wrong order", words, json.dumps(words.messages(rng)), rng)


def _mistyped(words: Vocabulary, rng: random.Random) -> Garbage:
    message = words.messages(rng)
    place = message
    while isinstance(inner := place[name := rng.choice(list(place))], dict) and inner and rng.random() < 0.8:
        place = inner
    place[name] = rng.choice(JUNK)
    return _text("wrong types", words, json.dumps(message), rng)


def _mangled(words: Vocabulary, rng: random.Random) -> Garbage:
    """A right message with some bytes lost, doubled or changed, which leave it ASCII."""
    text = list(json.dumps(words.messages(rng)))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text))
        text[at] = rng.choice(("", text[at] * 2, chr(rng.randrange(1, 128))))
        text = list("".join(text)) or [" "]
    return _text("mangled", words, "".join(text), rng)


def _noise(words: Vocabulary, rng: random.Random) -> Garbage:
    text = "".join(
        chr(rng.choice((rng.randrange(128), rng.randrange(0x3000)))) for _ in range(rng.randrange(99))
    )
    return _text("no JSON", words, text, rng)


def _binary(words: Vocabulary, rng: random.Random) -> Garbage:
    data = rng.randbytes(rng.randrange(AUDIO if rng.random() < 0.1 else 700))
    return Garbage("binary", _framed(Opcode.BINARY, data, rng), not words.hears_binary)


def _huge(words: Vocabulary, rng: random.Random) -> Garbage:
    length = int(rng.uniform(1 << 12, LONGEST) ** rng.uniform(0.8, 1))
    text = rng.choice(
        (
            "[" * DEPTH,
            '{"type":' * DEPTH,
            '{"type": "playback", "played_ms": ' + "9" * length + "}",
            json.dumps({"type": "x" * length}),
            json.dumps({**words.messages(rng), "more": ["x"] * (length // 5)}),
            " " * length,
        )
    )
    return _text("huge", words, text, rng)


def _broken(words: Vocabulary, rng: random.Random) -> Garbage:
    """What no WebSocket may send."""
    body = json.dumps(words.messages(rng)).encode()
    whole = bytearray(Frame(Opcode.TEXT, body).serialize(mask=True))
    how = rng.randrange(6)
    if how == 0:
        whole[0] |= rng.choice((0x10, 0x20, 0x40))  # a bit that nobody has agreed on
    elif how == 1:
        whole[0] = 0x80 | rng.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15))  # an opcode that there is not
    elif how == 2:
        whole = bytearray(b"\x81\xff" + CLAIMED.to_bytes(8, "big") + b"mask")
    elif how == 3:
        whole = bytearray(Frame(Opcode.CONT, body).serialize(mask=True))  # of nothing
    elif how == 4:
        whole = bytearray(Frame(Opcode.TEXT, body).serialize(mask=False))
    else:
        whole = bytearray(Frame(Opcode.CLOSE, Close(4999, "bye").serialize()[:1]).serialize(mask=True))
    return Garbage("no WebSocket", bytes(whole), ends=True)


def _half(words: Vocabulary, rng: random.Random) -> Garbage:
    whole = Frame(Opcode.TEXT, json.dumps(words.messages(rng)).encode()).serialize(mask=True)
    return Garbage("half a frame", whole[: rng.randrange(1, len(whole))], is_cut=True)


_MAKERS: dict[str, tuple[float, Callable[[Vocabulary, random.Random], Garbage]]] = {
    "wrong order": (25, _disordered),
    "wrong types": (25, _mistyped),
    "mangled": (20, _mangled),
    "no JSON": (10, _noise),
    "binary": (18, _binary),
    "huge": (0.4, _huge),
    "no WebSocket": (0.6, _broken),
    "half a frame": (0.4, _half),
}
