"""How nova asks an upstream for text: one small interface, and one module for each dialect behind it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation, which the model's own chat template turns into text."""

    messages: tuple[Message, ...]


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
class Finish:
    """The end of an answer that ended well.

    `prompt_tokens` is None where the upstream does not tell; `completion_tokens` is given where it tells
    only at the end, and otherwise the sum of the pieces.
    """

    reason: FinishReason
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


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

    def generate(
        self, prompt: Prompt, sampling: Sampling, *, stream: bool
    ) -> AsyncGenerator[Piece | Finish, None]:
        """Pieces and then one Finish; without `stream` the whole answer is one piece.

        Closing the generator early stops the generation upstream. Raises InputError for a prompt that
        the model cannot take, PeerError for all else.
        """
        ...

    async def close(self) -> None: ...
