"""How nova asks an upstream for text: one small interface, and one module for each dialect behind it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

FinishReason = Literal["stop", "length", "tool_calls", "cancelled"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """`arguments` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str
    calls: tuple[ToolCall, ...] = ()
    """Of an assistant."""
    call_id: str = ""
    """Of a tool: the call that this answers."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the model may call, in OpenAI's form: `functions` are the objects under `function`."""

    functions: tuple[dict[str, Any], ...]
    choice: str | dict[str, Any] = "auto"


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation, which the model's own chat template turns into text."""

    messages: tuple[Message, ...]
    tools: Tools | None = None

    @property
    def uses_tools(self) -> bool:
        """Whether it takes a contract that carries them."""
        return self.tools is not None or any(
            message.calls or message.role == "tool" for message in self.messages
        )


@dataclass(frozen=True, slots=True)
class Text:
    """What the model continues as it stands, without a template."""

    text: str


Prompt = Chat | Text


@dataclass(frozen=True, slots=True)
class Sampling:
    """Checked parameters; see services.nova.sampling. None: as the engine likes."""

    max_tokens: int
    temperature: float
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that follows what came before, and how many tokens it took; 0 where nobody counted."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class CallDelta:
    """What is new of the call at `index`: its id and name come once, its arguments in pieces."""

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of an answer that ended well.

    `prompt_tokens` is None where the upstream does not tell; `completion_tokens` is given where it tells
    only at the end, and otherwise the sum of the pieces.
    """

    reason: FinishReason
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


Part = Piece | CallDelta | Finish


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds of silence before the first token and between two of them, and for an answer in one piece."""

    first_token_s: float
    inter_token_s: float
    answer_s: float


class Contract(Protocol):
    """`name` is the setting's, `peer` who answers, in errors."""

    name: str
    peer: str
    carries_tools: bool
    """Whether a prompt may use tools. An upstream that takes and gives text alone has no place for them."""

    def generate(self, prompt: Prompt, sampling: Sampling, *, stream: bool) -> AsyncGenerator[Part, None]:
        """Pieces, parts of calls, and then one Finish; without `stream` the whole text is one piece.

        Closing the generator early stops the generation upstream. Raises InputError for a prompt that
        the model cannot take, PeerError for all else.
        """
        ...

    async def close(self) -> None: ...
