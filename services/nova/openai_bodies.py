"""What OpenAI's clients send to `/v1/chat/completions`, as far as it is served here."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.nova.contracts import Chat, Message
from services.nova.sampling import MAX_MESSAGES, SamplingFields

_ROLES = {"developer": "system"}  # OpenAI's newer word for the same

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "tools": ([],),
    "functions": ([],),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
"""Parameters that change the answer and are not served: accepted where they ask for nothing."""


MAX_PARTS = 256


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(fail_fast=True, max_length=MAX_PARTS)] = ""

    def message(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message(_ROLES.get(self.role, self.role), text)


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatBody(SamplingFields):
    """Fields that are not named here are ignored, as OpenAI's own servers do with what they do not know."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: str
    messages: Annotated[list[ChatMessage], Field(fail_fast=True, min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _only_what_is_served(self) -> Self:
        for name, neutral in _NEUTRAL.items():
            value = (self.model_extra or {}).get(name)
            if value is not None and value not in neutral:
                raise ValueError(f"{name} is not supported here")
        if self.max_tokens is None:
            self.max_tokens = self.max_completion_tokens
        return self

    def chat(self) -> Chat:
        return Chat(tuple(message.message() for message in self.messages))
