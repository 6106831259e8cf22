"""What of a conversation fits into the model's context, with the answer that is still to come.

The tokenizer is another machine's, so tokens are estimated. No tokenizer makes more tokens than the
text has bytes (also after the compatibility normalisation that some begin with), which is the estimate
at one byte for each token; more bytes for each let more of the conversation in.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.sophia.history import Call, Message

MESSAGE_TOKENS = 16
"""What a chat template puts around one message, at most."""
TOOLS_TOKENS = 256
"""What a chat template puts around the functions on offer, at most."""
NO_OUTPUT = '{"error": "there is no result yet"}'
"""What the model is told of a call whose output is not there."""
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

    def takes(self, system: str, tools: str = "") -> bool:
        """Whether a system prompt and the functions on offer leave room for the user's words."""
        return self._fixed(system, tools) + MESSAGE_TOKENS + MIN_QUESTION_TOKENS <= self._room

    def fit(self, system: str, conversation: Sequence[Message], tools: str = "") -> list[Message]:
        """The messages for the model, of a system prompt and functions that it takes and a conversation.

        The newest always stays, and where it calls, the question behind it: what is too long of them is
        cut. Of the others the newest stay, from a question on.
        """
        head = [Message("system", system)] if system else []
        room = self._room - self._fixed(system, tools)
        last = len(conversation) - 1
        asked = _question(conversation)
        question = self._cut(conversation[asked], room if asked == last else room // 2)
        room -= self._cost(question)
        kept = [question]
        if asked < last:
            newest = self._cut(conversation[last], room)
            room -= self._cost(newest)
            kept = [newest] if newest.calls else []
        for index in range(last - 1, -1, -1):
            if index == asked:
                kept.insert(0, question)  # which has its room already
                continue
            room -= self._cost(conversation[index])
            if room < 0:
                if index > asked:
                    kept.insert(0, question)
                break
            kept.insert(0, conversation[index])
        while len(kept) > 1 and kept[0].role == "assistant":
            del kept[0]
        return [*head, *kept]

    def _fixed(self, system: str, tools: str) -> int:
        """What there is in any case."""
        around = TOOLS_TOKENS + tools.count("\n") * MESSAGE_TOKENS if tools else 0
        return (self._tokens(system) + MESSAGE_TOKENS if system else 0) + self._tokens(tools) + around

    def _cost(self, message: Message) -> int:
        return self._tokens(message.content) + MESSAGE_TOKENS + sum(map(self._cost_of_call, message.calls))

    def _cost_of_call(self, call: Call) -> int:
        """Its name and id may stand beside the call and beside its output, both of which may be quoted."""
        texts = (
            2 * (call.name + call.id)
            + _quoted(call.arguments)
            + _quoted(NO_OUTPUT if call.output is None else call.output)
        )
        return self._tokens(texts) + 2 * MESSAGE_TOKENS

    def _tokens(self, text: str) -> int:
        return math.ceil(_bytes(text) / self.bytes_per_token)

    def _cut(self, message: Message, room: int) -> Message:
        """`message` in so much room: of words their end stays, of outputs, in equal parts, the beginning."""
        if self._cost(message) <= room:
            return message
        if not message.calls:
            return replace(message, content=self._end_of(message.content, room - MESSAGE_TOKENS))
        bare = replace(message, content="", calls=tuple(replace(call, output="…") for call in message.calls))
        each = (room - self._cost(bare)) // len(bare.calls)
        if each < 0:
            return Message(message.role, "")  # calls that nothing can be gone on from
        return replace(
            bare,
            calls=tuple(
                replace(call, output=self._start_of(call.output or "", each)) for call in message.calls
            ),
        )

    def _start_of(self, text: str, tokens: int) -> str:
        most = int(tokens * self.bytes_per_token)
        low, high = 0, len(text)  # the longest beginning that fits
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if _bytes(_quoted(text[:middle])) <= most else (low, middle - 1)
        return text if low == len(text) else text[:low] + "…"

    def _end_of(self, text: str, tokens: int) -> str:
        most = int(tokens * self.bytes_per_token)
        if _bytes(text) <= most:
            return text
        low, high = 0, len(text)  # the longest end that fits
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if _bytes(text[-middle:]) <= most else (low, middle - 1)
        return text[len(text) - low :].lstrip()


def _question(conversation: Sequence[Message]) -> int:
    """Where that begins which always stays."""
    last = len(conversation) - 1
    if not conversation[last].calls:
        return last
    return max((i for i, message in enumerate(conversation) if message.role == "user"), default=last)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    return max(len(form.encode(errors="replace")) for form in (text, unicodedata.normalize("NFKC", text)))
