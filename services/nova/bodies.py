"""What callers send to `/nova/generate`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.nova.contracts import Chat, Message, Prompt, Text
from services.nova.sampling import MAX_MESSAGES, Body, SamplingFields


class MessageBody(Body):
    model_config = ConfigDict(strict=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class GenerateBody(SamplingFields):
    """Either `prompt` (one question, or several that are answered side by side) or `messages`."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"examples": [{"prompt": "What is the capital of France?", "max_tokens": 32}]},
    )

    prompt: str | Annotated[list[str], Field(fail_fast=True, min_length=1)] | None = None
    messages: (
        Annotated[list[MessageBody], Field(fail_fast=True, min_length=1, max_length=MAX_MESSAGES)] | None
    ) = None
    raw: bool = False
    """Continue the prompt as it stands. Otherwise it is one user's message to the model's chat template."""
    model: str | None = None
    stream: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        if self.raw and self.prompt is None:
            raise ValueError("raw goes with prompt; messages always pass through the chat template")
        return self

    def prompts(self) -> list[Prompt]:
        if self.messages is not None:
            return [Chat(tuple(Message(message.role, message.content) for message in self.messages))]
        texts = [self.prompt] if isinstance(self.prompt, str) else self.prompt or []
        if self.raw:
            return [Text(text) for text in texts]
        return [Chat((Message("user", text),)) for text in texts]


class Usage(BaseModel):
    """None where the upstream does not count."""

    prompt_tokens: int | None
    completion_tokens: int | None


class Timing(BaseModel):
    """Milliseconds since the request arrived."""

    ttft_ms: float
    total_ms: float


class OutputError(BaseModel):
    code: str
    detail: str
    retryable: bool


class Output(BaseModel):
    """`usage` and `timing` with an answer, `error` with a failure."""

    index: int
    text: str
    finish_reason: Literal["stop", "length", "cancelled", "error"]
    usage: Usage | None = None
    timing: Timing | None = None
    error: OutputError | None = None


class GenerateAnswer(BaseModel):
    """The shape of an answer, for the documentation: answers are not made of these."""

    model: str
    outputs: list[Output]
