"""The messages of `/sophia/voice` as they are written: JSON with a `type`, both ways."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.sophia.connection import complaint
from services.sophia.events import NAMES, Event
from services.sophia.riva import MAX_SPEED, MIN_SPEED
from services.sophia.session_config import SessionConfig
from services.sophia.tools import MAX_TOOLS, Offer, ToolFields
from shared.audio import MAX_RATE, MIN_RATE, RATE
from shared.errors import InputError

Rate = Annotated[int, Field(ge=MIN_RATE, le=MAX_RATE)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SessionStart(_Message):
    type: Literal["session.start"]
    sample_rate: Rate = RATE
    output_sample_rate: Rate = RATE
    language: Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = "en-US"
    voice: Annotated[str, Field(max_length=100)] = ""
    system: str = ""
    speed: Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED)] = 1.0
    animation: bool = False
    emotion: Annotated[str, Field(max_length=20)] = ""
    resume: Annotated[str, Field(max_length=100)] = ""
    tools: Annotated[list[ToolFields], Field(max_length=MAX_TOOLS)] = []

    def config(self) -> SessionConfig:
        return SessionConfig(
            self.sample_rate,
            self.output_sample_rate,
            self.language,
            self.voice,
            self.system,
            self.animation,
            emotion=self.emotion,
            speed=self.speed,
            offer=Offer(tuple(tool.tool() for tool in self.tools)),
        )


class ToolResult(_Message):
    type: Literal["tool.result"]
    call_id: Annotated[str, Field(max_length=64)]
    output: str


class Text(_Message):
    type: Literal["text"]
    text: str


class Playback(_Message):
    type: Literal["playback"]
    played_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Cancel(_Message):
    type: Literal["cancel"]


class SessionEnd(_Message):
    type: Literal["session.end"]


Command = SessionStart | Text | ToolResult | Playback | Cancel | SessionEnd
_parser: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="type")])


def parse(text: str) -> Command:
    """Raises InputError, in words for the client's developer; never repeats what it was sent."""
    try:
        return _parser.validate_json(text)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise InputError("; ".join(map(complaint, problems))) from None


def encode(event: Event) -> str:
    return orjson.dumps({"type": NAMES[type(event)], **_fields(event)}).decode()


def _fields(event: Event) -> dict[str, Any]:
    return {name: value for name, value in asdict(event).items() if value is not None}
