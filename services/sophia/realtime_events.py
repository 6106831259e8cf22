"""What OpenAI's realtime clients send, as far as it is served here, and what a session looks like to them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.sophia.connection import complaint
from services.sophia.session_config import SessionConfig
from services.sophia.settings import SophiaSettings
from services.sophia.tools import MAX_TOOLS, Offer, ToolFields, ToolName
from services.sophia.vad import VadSettings
from shared.errors import InputError

RATE = 24000
"""Hz, both ways: the only rate of OpenAI's `audio/pcm`."""
MAX_COMPLAINT = 300
MAX_PARTS = 16

OPENAI_VOICES = frozenset(
    "alloy ash ballad cedar coral default echo fable marin nova onyx sage shimmer verse".split(" ")
)
"""Riva has none of these: whoever asks for one of them gets its default voice."""
LOCALES = {"en": "en-US", "de": "de-DE", "es": "es-US", "fr": "fr-FR", "it": "it-IT", "zh": "zh-CN"}
"""OpenAI names a language, Riva a language and its country."""

Id = Annotated[str, Field(min_length=1, max_length=64)]
Language = Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]


class RefusedError(InputError):
    """What a client sent cannot be done; `reason` is OpenAI's code, `param` the place in the message."""

    def __init__(self, message: str, *, reason: str = "invalid_value", param: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.param = param


def locale(language: str) -> str:
    return LOCALES.get(language.lower(), language)


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Pcm(_Part):
    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24000] = 24000


class ServerVad(_Part):
    """Its times and threshold are this server's own; `session.updated` tells them."""

    type: Literal["server_vad"]
    create_response: bool | None = None
    interrupt_response: bool | None = None


class Transcription(_Part):
    language: Language | None = None


class AudioInput(_Part):
    format: Pcm | None = None
    turn_detection: ServerVad | None = None
    transcription: Transcription | None = None


class VoiceId(_Part):
    id: Annotated[str, Field(max_length=100)]


VoiceName = Annotated[str, Field(max_length=100)] | VoiceId


def riva_voice(voice: str | VoiceId) -> str:
    name = voice.id if isinstance(voice, VoiceId) else voice
    return "" if name in OPENAI_VOICES else name


class AudioOutput(_Part):
    format: Pcm | None = None
    voice: VoiceName | None = None
    speed: Annotated[float, Field(ge=0.25, le=1.5)] | None = None


class Audio(_Part):
    input: AudioInput | None = None
    output: AudioOutput | None = None


class NamedTool(_Part):
    type: Literal["function"]
    name: ToolName


class Answering(_Part):
    """What a session and a single response have in common."""

    instructions: str | None = None
    output_modalities: Annotated[list[Literal["text", "audio"]], Field(min_length=1, max_length=1)] | None = (
        None
    )
    audio: Audio | None = None
    tools: Annotated[list[ToolFields], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None

    def applied_to(self, config: SessionConfig, max_chars: int) -> SessionConfig:
        """`config` with what is named here. Raises RefusedError."""
        if self.instructions is not None:
            if len(self.instructions) > max_chars:
                raise RefusedError(f"instructions: more than {max_chars} characters", param="instructions")
            config = replace(config, system=self.instructions)
        if self.output_modalities is not None:
            config = replace(config, silent=self.output_modalities == ["text"])
        output = self.audio.output if self.audio is not None else None
        if output is not None and output.voice is not None:
            config = replace(config, voice=riva_voice(output.voice))
        if output is not None and output.speed is not None:
            config = replace(config, speed=output.speed)
        return replace(config, offer=self._offer(config.offer))

    def _offer(self, offer: Offer) -> Offer:
        if self.tools is not None:
            offer = Offer(tuple(tool.tool() for tool in self.tools), offer.choice)
        if isinstance(self.tool_choice, NamedTool):
            offer = replace(offer, name=self.tool_choice.name)
        elif self.tool_choice is not None:
            offer = replace(offer, choice=self.tool_choice, name="")
        return offer


class SessionFields(Answering):
    type: Literal["realtime"] = "realtime"

    def applied_to(self, config: SessionConfig, max_chars: int) -> SessionConfig:
        config = super().applied_to(config, max_chars)
        heard = self.audio.input if self.audio is not None else None
        if heard is None:
            return config
        if "turn_detection" in heard.model_fields_set:
            vad = heard.turn_detection
            config = replace(
                config,
                answers=vad is not None and vad.create_response is not False,
                interruptible=vad is not None and vad.interrupt_response is not False,
            )
        if heard.transcription is not None and heard.transcription.language is not None:
            config = replace(config, language=locale(heard.transcription.language))
        return config

    @property
    def names_turn_detection(self) -> bool:
        return (
            self.audio is not None
            and self.audio.input is not None
            and "turn_detection" in self.audio.input.model_fields_set
        )

    @property
    def detects_turns(self) -> bool:
        return (
            self.audio is not None
            and self.audio.input is not None
            and self.audio.input.turn_detection is not None
        )


class ResponseFields(Answering):
    conversation: Literal["auto"] | None = None
    input: Annotated[list[Any], Field(max_length=0)] | None = None


class Content(_Part):
    type: Literal["input_text", "output_text", "text"]
    text: str


class Item(_Part):
    type: Literal["message"]
    role: Literal["user", "assistant"]
    content: Annotated[list[Content], Field(min_length=1, max_length=MAX_PARTS)]
    id: Id | None = None

    @property
    def text(self) -> str:
        return " ".join(part.text for part in self.content).strip()


class CallOutput(_Part):
    type: Literal["function_call_output"]
    call_id: Id
    output: str
    id: Id | None = None


class _Command(_Part):
    event_id: Annotated[str, Field(max_length=512)] | None = None


class SessionUpdate(_Command):
    type: Literal["session.update"]
    session: SessionFields


class Append(_Command):
    type: Literal["input_audio_buffer.append"]
    audio: str

    def pcm(self) -> bytes:
        try:
            return base64.b64decode(self.audio, validate=True)
        except (binascii.Error, ValueError):
            raise RefusedError("audio: is not base64", param="audio") from None


class Commit(_Command):
    type: Literal["input_audio_buffer.commit"]


class Clear(_Command):
    type: Literal["input_audio_buffer.clear"]


class ItemCreate(_Command):
    type: Literal["conversation.item.create"]
    item: Annotated[Item | CallOutput, Field(discriminator="type")]
    previous_item_id: Id | None = None


class Truncate(_Command):
    type: Literal["conversation.item.truncate"]
    item_id: Id
    content_index: Literal[0]
    audio_end_ms: Annotated[int, Field(ge=0)]


class ResponseCreate(_Command):
    type: Literal["response.create"]
    response: ResponseFields | None = None


class ResponseCancel(_Command):
    type: Literal["response.cancel"]
    response_id: Id | None = None


Command = SessionUpdate | Append | Commit | Clear | ItemCreate | Truncate | ResponseCreate | ResponseCancel
_parser: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="type")])
_Tag = TypeAdapter(_Command)


def parse(text: str) -> Command:
    """Raises RefusedError, which never repeats what was sent."""
    try:
        return _parser.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"][1:])[:MAX_COMPLAINT]
    raise RefusedError(complaint(first)[:MAX_COMPLAINT], param=place or None)


def event_id_of(text: str) -> str | None:
    """By which the client knows the message that was refused; None where there is none."""
    try:
        return _Tag.validate_json(text).event_id
    except ValidationError:
        return None


def session_object(
    session_id: str, model: str, config: SessionConfig, settings: SophiaSettings, *, detects_turns: bool
) -> dict[str, Any]:
    """What holds: not what was asked for."""
    vad, offer = VadSettings(), config.offer
    detection = {
        "type": "server_vad",
        "threshold": vad.start_threshold,
        "prefix_padding_ms": 0,
        "silence_duration_ms": settings.speech_stop_ms,
        "create_response": config.answers,
        "interrupt_response": config.interruptible,
    }
    return {
        "id": session_id,
        "object": "realtime.session",
        "type": "realtime",
        "model": model,
        "instructions": config.system or settings.system,
        "output_modalities": modalities(config),
        "max_output_tokens": settings.max_tokens,
        "tools": [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": orjson.loads(tool.parameters),
            }
            for tool in offer.tools
        ],
        "tool_choice": {"type": "function", "name": offer.name} if offer.name else offer.choice,
        "audio": {
            "input": {
                "format": pcm_format(),
                "transcription": {"language": config.language},
                "turn_detection": detection if detects_turns else None,
                "noise_reduction": None,
            },
            "output": {
                "format": pcm_format(),
                "voice": config.voice or "default",
                "speed": config.speed,
            },
        },
    }


def pcm_format() -> dict[str, Any]:
    return {"type": "audio/pcm", "rate": RATE}


def modalities(config: SessionConfig) -> list[str]:
    return ["text"] if config.silent else ["audio"]
