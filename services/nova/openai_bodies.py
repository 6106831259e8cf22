"""What OpenAI's clients send to `/v1/chat/completions`, as far as it is served here."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.nova.contracts import Chat, Message, ToolCall, Tools
from services.nova.sampling import MAX_MESSAGES, SamplingFields

_ROLES = {"developer": "system"}  # OpenAI's newer word for the same

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
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
MAX_TOOLS = 128


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class CalledFunction(BaseModel):
    name: str
    arguments: str


class Call(BaseModel):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[TextPart], Field(fail_fast=True, max_length=MAX_PARTS)] | None = None
    tool_calls: Annotated[list[Call], Field(fail_fast=True, max_length=MAX_PARTS)] | None = None
    tool_call_id: str = ""

    def message(self) -> Message:
        content = self.content or ""
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        calls = [
            ToolCall(call.id, call.function.name, call.function.arguments) for call in self.tool_calls or ()
        ]
        return Message(_ROLES.get(self.role, self.role), text, tuple(calls), self.tool_call_id)


class Function(BaseModel):
    """All else that stands in it is passed on as it is."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Tool(BaseModel):
    type: Literal["function"]
    function: Function


class NamedFunction(BaseModel):
    name: str


class NamedTool(BaseModel):
    type: Literal["function"]
    function: NamedFunction


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
    tools: Annotated[list[Tool], Field(fail_fast=True, max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None

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
        return Chat(tuple(message.message() for message in self.messages), self._tools())

    def _tools(self) -> Tools | None:
        if not self.tools:
            return None
        choice = self.tool_choice or "auto"
        return Tools(
            tuple(tool.function.model_dump() for tool in self.tools),
            choice if isinstance(choice, str) else choice.model_dump(),
        )
