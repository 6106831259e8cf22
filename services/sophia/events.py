"""The vocabulary of a voice session: what it tells its client.

One frozen dataclass for each server message of `/sophia/voice`; `NAMES` gives their names on the
wire. Times are ms; `turn` counts replies from 1. Audio is PCM16 mono at the session's output rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.sophia.history import Call


@dataclass(frozen=True, slots=True)
class Word:
    """A recognised word and when it was said, in ms of the session's audio."""

    word: str
    start_ms: int
    end_ms: int
    confidence: float


@dataclass(frozen=True, slots=True)
class SessionStarted:
    session_id: str
    resume_token: str
    output_sample_rate: int


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    pass


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    pass


@dataclass(frozen=True, slots=True)
class TranscriptPartial:
    text: str
    confidence: float
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class TranscriptFinal:
    text: str
    confidence: float
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    turn: int


@dataclass(frozen=True, slots=True)
class ReplyText:
    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class ReplyAudio:
    """A binary message on the wire."""

    turn: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class ReplyPaused:
    """Somebody speaks: hold the sound at once."""

    turn: int


@dataclass(frozen=True, slots=True)
class ReplyResumed:
    """It was nothing: go on where the sound stopped."""

    turn: int


@dataclass(frozen=True, slots=True)
class ReplyDone:
    """All of the reply has been sent; `text` is the whole of it."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The client is asked to run a function; `arguments` is a JSON object, as text."""

    turn: int
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class FunctionCalls:
    """The reply ends with these: their outputs are the client's to bring, in a turn of its own."""

    turn: int
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """It was meant: drop the rest. No audio, text or frame of this turn follows."""

    turn: int
    spoken_text: str
    spoken_ms: int


@dataclass(frozen=True, slots=True)
class AnimationHeader:
    turn: int
    names: tuple[str, ...]
    fps: float


@dataclass(frozen=True, slots=True)
class Animation:
    """One frame; `t_ms` is media time from the first sample of the turn."""

    turn: int
    t_ms: float
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TurnMetrics:
    """Where the time of a turn went: milliseconds by stage, in the order in which they happened."""

    turn: int
    stages: dict[str, float]


@dataclass(frozen=True, slots=True)
class Error:
    """With a `turn` it has ended that turn; without one the session goes on unharmed.

    Where it refuses or ends a session, `retry_after_s` says when to come back, and `go_to` where else.
    """

    code: str
    message: str
    retryable: bool
    turn: int | None = None
    retry_after_s: float | None = None
    go_to: str | None = None


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A message in another vocabulary, ready for its wire: it waits its turn among the events."""

    message: dict[str, Any]


Event = (
    SessionStarted
    | SpeechStarted
    | SpeechStopped
    | TranscriptPartial
    | TranscriptFinal
    | ReplyStarted
    | ReplyText
    | ReplyAudio
    | ReplyPaused
    | ReplyResumed
    | ReplyDone
    | ToolCall
    | FunctionCalls
    | Interrupted
    | AnimationHeader
    | Animation
    | TurnMetrics
    | Error
    | Verbatim
)

NAMES: dict[type[Event], str] = {
    SessionStarted: "session.started",
    SpeechStarted: "speech.started",
    SpeechStopped: "speech.stopped",
    TranscriptPartial: "transcript.partial",
    TranscriptFinal: "transcript.final",
    ReplyStarted: "reply.started",
    ReplyText: "reply.text",
    ReplyPaused: "reply.paused",
    ReplyResumed: "reply.resumed",
    ReplyDone: "reply.done",
    ToolCall: "tool.call",
    Interrupted: "interrupted",
    AnimationHeader: "animation.header",
    Animation: "animation",
    TurnMetrics: "turn.metrics",
    Error: "error",
}
