"""The items of a conversation in OpenAI's realtime form: replies and what the user says."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass, field
from typing import Any

from services.sophia.history import Call
from services.sophia.realtime_events import modalities, pcm_format
from services.sophia.session_config import SessionConfig

Message = dict[str, Any]


def new_id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex[:21]}"


def added(item: Message, previous: str | None) -> Message:
    return {"type": "conversation.item.added", "previous_item_id": previous, "item": item}


def done(item: Message, previous: str | None) -> Message:
    return {"type": "conversation.item.done", "previous_item_id": previous, "item": item}


def message_item(item_id: str, role: str, status: str, content: list[Message]) -> Message:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "role": role,
        "status": status,
        "content": content,
    }


def call_item(item_id: str, call: Call, status: str, arguments: str) -> Message:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
    }


def output_item(item_id: str, call_id: str, output: str) -> Message:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "function_call_output",
        "status": "completed",
        "call_id": call_id,
        "output": output,
    }


@dataclass
class Response:
    """One reply: what its client has been told of it, and what remains to be told."""

    turn: int
    config: SessionConfig
    previous: str | None = None
    """The item before its message."""
    id: str = field(default_factory=lambda: new_id("resp"))
    item_id: str = field(default_factory=lambda: new_id("item"))
    text: str = ""
    over: bool = False
    speaks: bool = False
    """It has a message, which one that only calls functions has not."""
    called: list[Message] = field(default_factory=list)
    """The items of its calls."""

    def created(self) -> list[Message]:
        return [{"type": "response.created", "response": self._response("in_progress", [], None)}]

    def opening(self, previous: str | None) -> list[Message]:
        """Of its message."""
        self.speaks, self.previous = True, previous
        item = message_item(self.item_id, "assistant", "in_progress", [])
        return [
            self._of("response.output_item.added", item=item),
            added(item, self.previous),
            self._of("response.content_part.added", self._place, part=self._part("")),
        ]

    def text_delta(self, text: str) -> list[Message]:
        self.text += text
        kind = "output_text" if self.config.silent else "output_audio_transcript"
        return [self._of(f"response.{kind}.delta", self._place, delta=text)]

    def audio_delta(self, pcm: bytes) -> list[Message]:
        delta = base64.b64encode(pcm).decode()
        return [self._of("response.output_audio.delta", self._place, delta=delta)]

    def call(self, call: Call, previous: str | None) -> list[Message]:
        item_id, arguments = new_id("item"), call.arguments
        index = {"output_index": len(self.called) + self.speaks}
        item = call_item(item_id, call, "completed", arguments)
        place = {"item_id": item_id, "call_id": call.id, **index}
        begun = call_item(item_id, call, "in_progress", "")
        self.called.append(item)
        return [
            self._of("response.output_item.added", index, item=begun),
            added(begun, previous),
            self._of("response.function_call_arguments.delta", place, delta=arguments),
            self._of("response.function_call_arguments.done", place, name=call.name, arguments=arguments),
            self._of("response.output_item.done", index, item=item),
            done(item, previous),
        ]

    def closing(self, status: str, text: str, details: Message | None = None) -> list[Message]:
        """`text` is what holds of the reply: the whole of it, or what was heard."""
        self.over = True
        if not self.speaks:
            return [self._done(status, self.called, details)]
        kind = "output_text" if self.config.silent else "output_audio"
        part = self._part(text)
        item_status = "completed" if status == "completed" else "incomplete"
        item = message_item(self.item_id, "assistant", item_status, [part | {"type": kind}])
        if self.config.silent:
            ends = [self._of("response.output_text.done", self._place, text=text)]
        else:
            ends = [
                self._of("response.output_audio.done", self._place),
                self._of("response.output_audio_transcript.done", self._place, transcript=text),
            ]
        return [
            *ends,
            self._of("response.content_part.done", self._place, part=part),
            self._of("response.output_item.done", item=item),
            done(item, self.previous),
            self._done(status, [item, *self.called], details),
        ]

    def _done(self, status: str, output: list[Message], details: Message | None) -> Message:
        return {"type": "response.done", "response": self._response(status, output, details)}

    @property
    def _place(self) -> Message:
        return {"item_id": self.item_id, "content_index": 0}

    def _of(self, kind: str, place: Message | None = None, **more: Any) -> Message:
        return {"type": kind, "response_id": self.id, "output_index": 0, **(place or {}), **more}

    def _part(self, text: str) -> Message:
        return {"type": "text", "text": text} if self.config.silent else {"type": "audio", "transcript": text}

    def _response(self, status: str, output: list[Message], details: Message | None) -> Message:
        voice = self.config.voice or "default"
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": output,
            "output_modalities": modalities(self.config),
            "audio": {"output": {"format": pcm_format(), "voice": voice}},
        }


@dataclass
class Utterance:
    """What the user says, from the first sound to its transcript."""

    id: str = field(default_factory=lambda: new_id("item"))
    previous: str | None = None
    is_added: bool = False
    told: str = ""
    """The part of the transcript that was sent as deltas."""

    def added(self, previous: str | None) -> list[Message]:
        """Once, when the first of it is known."""
        self.is_added, self.previous = True, previous
        return [added(self._item("in_progress", None), previous)]

    def committed(self) -> Message:
        return {
            "type": "input_audio_buffer.committed",
            "previous_item_id": self.previous,
            "item_id": self.id,
        }

    def delta(self, text: str) -> list[Message]:
        """What is new of a transcript that may still change: a change of what was told waits for the end."""
        if not text.startswith(self.told) or text == self.told:
            return []
        delta, self.told = text[len(self.told) :], text
        return [self._transcription("delta", delta=delta)]

    def completed(self, text: str, seconds: float) -> list[Message]:
        usage = {"type": "duration", "seconds": round(seconds, 3)}
        return [
            *self.delta(text),
            self._transcription("completed", transcript=text, usage=usage),
            done(self._item("completed", text), self.previous),
        ]

    def _transcription(self, kind: str, **more: Any) -> Message:
        name = f"conversation.item.input_audio_transcription.{kind}"
        return {"type": name, "item_id": self.id, "content_index": 0, **more}

    def _item(self, status: str, transcript: str | None) -> Message:
        return message_item(self.id, "user", status, [{"type": "input_audio", "transcript": transcript}])
