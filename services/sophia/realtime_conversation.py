"""A conversation as OpenAI's realtime clients are told of it: the session's events in their words."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.sophia.events import (
    Error,
    Event,
    FunctionCalls,
    Interrupted,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    SpeechStarted,
    SpeechStopped,
    TranscriptFinal,
    TranscriptPartial,
    Verbatim,
)
from services.sophia.history import Call
from services.sophia.realtime_items import (
    Message,
    Response,
    Utterance,
    added,
    done,
    message_item,
    output_item,
)
from services.sophia.session_config import SessionConfig

KEPT_RESPONSES = 2
"""Only the present reply and the last can still be cancelled or truncated."""


@dataclass
class Dictation:
    """The buffer of a client that says itself where its turns end."""

    finals: list[str] = field(default_factory=list)
    partial: str = ""

    def hear(self, event: SpeechStarted | SpeechStopped | TranscriptPartial | TranscriptFinal) -> None:
        match event:
            case TranscriptPartial():
                self.partial = event.text
            case TranscriptFinal():
                self.finals.append(event.text)
                self.partial = ""

    def take(self) -> str:
        text = " ".join([*self.finals, self.partial]).strip()
        self.finals.clear()
        self.partial = ""
        return text


class Conversation:
    """Which items and responses there are, and what its client has been told of them."""

    def __init__(self, config: SessionConfig) -> None:
        self.config = config
        self.detects_turns = True
        self.last_item: str | None = None
        self.dictation = Dictation()
        self.client_ended: set[int] = set()
        """Turns that the client cancelled."""
        self.own_configs: dict[int, SessionConfig] = {}
        """Of turns that the client asked for in a way of their own."""
        self.fed_s = 0.0
        """How much audio the client has sent."""
        self.buffer_s = 0.0
        """Where its present buffer begins."""
        self._utterance = Utterance()
        self._responses: dict[int, Response] = {}

    def response(self, *, item_id: str = "", response_id: str = "") -> Response | None:
        for response in self._responses.values():
            if item_id == response.item_id or response_id == response.id:
                return response
        return None

    def typed(self, item_id: str, role: str, text: str) -> list[Message]:
        kind = "input_text" if role == "user" else "output_text"
        item = message_item(item_id, role, "completed", [{"type": kind, "text": text}])
        previous, self.last_item = self.last_item, item_id
        return [added(item, previous), done(item, previous)]

    def commit(self) -> tuple[Utterance, list[Message]]:
        """The utterance that the buffer holds becomes an item, whose transcript is to come."""
        utterance, self._utterance = self._utterance, Utterance()
        begun = self._begin(utterance)
        self.buffer_s = self.fed_s
        return utterance, [utterance.committed(), *begun]

    def _begin(self, utterance: Utterance) -> list[Message]:
        if utterance.is_added:
            return []
        previous, self.last_item = self.last_item, utterance.id
        return utterance.added(previous)

    def of(self, event: Event) -> list[Message]:
        """What the client is told of it."""
        match event:
            case SpeechStarted() | SpeechStopped() | TranscriptPartial() | TranscriptFinal():
                if self.detects_turns:
                    return self._of_speech(event)
                self.dictation.hear(event)
                return []
            case ReplyStarted():
                return self._of_beginning(event.turn)
            case ReplyText() | ReplyAudio() | FunctionCalls() | ReplyDone() | Interrupted():
                response = self._responses.get(event.turn)
                return self._of_reply(event, response) if response and not response.over else []
            case Error():
                return self._of_error(event)
            case Verbatim():
                return [event.message]
        return []

    def _of_speech(
        self, event: SpeechStarted | SpeechStopped | TranscriptPartial | TranscriptFinal
    ) -> list[Message]:
        utterance = self._utterance
        match event:
            case SpeechStarted():
                name, at = "speech_started", "audio_start_ms"
            case SpeechStopped():
                name, at = "speech_stopped", "audio_end_ms"
            case TranscriptPartial():
                return [*self._begin(utterance), *utterance.delta(event.text)]
            case TranscriptFinal():
                seconds = self.fed_s - self.buffer_s
                _, committed = self.commit()
                return [*committed, *utterance.completed(event.text, seconds)]
        ms = round(self.fed_s * 1e3)
        return [{"type": f"input_audio_buffer.{name}", "item_id": utterance.id, at: ms}]

    def _of_beginning(self, turn: int) -> list[Message]:
        config = self.own_configs.pop(turn, self.config)
        response = Response(turn, config)
        self._responses[turn] = response
        while len(self._responses) > KEPT_RESPONSES:
            del self._responses[min(self._responses)]
        # One that may call functions has perhaps nothing to say.
        return response.created() + ([] if config.offer.tools else self._open(response))

    def _open(self, response: Response) -> list[Message]:
        previous, self.last_item = self.last_item, response.item_id
        return response.opening(previous)

    def _of_calls(self, response: Response, calls: tuple[Call, ...]) -> list[Message]:
        told = []
        for call in calls:
            told += response.call(call, self.last_item)
            self.last_item = response.called[-1]["id"]
        return told

    def output(self, item_id: str, call_id: str, output: str) -> list[Message]:
        item = output_item(item_id, call_id, output)
        previous, self.last_item = self.last_item, item_id
        return [added(item, previous), done(item, previous)]

    def _of_reply(
        self, event: ReplyText | ReplyAudio | FunctionCalls | ReplyDone | Interrupted, response: Response
    ) -> list[Message]:
        match event:
            case ReplyText():
                opened = [] if response.speaks else self._open(response)
                return opened + response.text_delta(event.text)
            case FunctionCalls():
                return self._of_calls(response, event.calls)
            case ReplyAudio():
                return response.audio_delta(event.pcm)
            case ReplyDone():
                return response.closing("completed", event.text)
        by_client = event.turn in self.client_ended
        self.client_ended.discard(event.turn)
        reason = "client_cancelled" if by_client else "turn_detected"
        return response.closing("cancelled", event.spoken_text, {"type": "cancelled", "reason": reason})

    def _of_error(self, event: Error) -> list[Message]:
        told = {"type": "server_error", "code": event.code, "message": event.message}
        response = self._responses.get(event.turn) if event.turn is not None else None
        if response is not None and not response.over:
            return response.closing("failed", response.text.strip(), {"type": "failed", "error": told})
        return [{"type": "error", "error": told | {"param": None, "event_id": None}}]
