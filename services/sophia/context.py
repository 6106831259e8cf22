"""What of a conversation fits into the model's context, with the answer that is still to come.

The tokenizer is another machine's, so tokens are estimated. No tokenizer makes more tokens than the
text has bytes (also after the compatibility normalisation that some begin with), which is the estimate
at one byte for each token; more bytes for each let more of the conversation in.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from services.sophia.history import Message

MESSAGE_TOKENS = 16
"""What a chat template puts around one message, at most."""
MIN_QUESTION_TOKENS = 64
"""What a system prompt must leave for the user's words."""


@dataclass(frozen=True, slots=True)
class Context:
    tokens: int
    answer_tokens: int
    bytes_per_token: float = 1.0

    @property
    def _room(self) -> int:
        """For all messages. The template opens the answer, as it does a message."""
        return self.tokens - self.answer_tokens - MESSAGE_TOKENS

    def takes(self, system: str) -> bool:
        """Whether a system prompt leaves room for the user's words."""
        return self._cost(system) + MESSAGE_TOKENS + MIN_QUESTION_TOKENS <= self._room

    def fit(self, system: str, conversation: Sequence[Message]) -> list[Message]:
        """The messages for the model, of a system prompt that it takes and a conversation.

        The newest always stays: where it alone is too long, its end does. Of the others the newest stay,
        from a question on.
        """
        head = [Message("system", system)] if system else []
        room = self._room - sum(self._cost(message.content) for message in head)
        *others, newest = conversation
        newest = Message(newest.role, self._end_of(newest.content, room - MESSAGE_TOKENS))
        room -= self._cost(newest.content)
        first = len(others)
        while first and (room := room - self._cost(others[first - 1].content)) >= 0:
            first -= 1
        while first < len(others) and others[first].role == "assistant":
            first += 1
        return [*head, *others[first:], newest]

    def _cost(self, text: str) -> int:
        return math.ceil(_bytes(text) / self.bytes_per_token) + MESSAGE_TOKENS

    def _end_of(self, text: str, tokens: int) -> str:
        most = int(tokens * self.bytes_per_token)
        if _bytes(text) <= most:
            return text
        low, high = 0, len(text)  # the longest end that fits
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if _bytes(text[-middle:]) <= most else (low, middle - 1)
        return text[len(text) - low :].lstrip()


def _bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    return max(len(form.encode(errors="replace")) for form in (text, unicodedata.normalize("NFKC", text)))
