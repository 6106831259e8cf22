"""What was said in a conversation: the user's words, and of each reply what the listener heard."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Call:
    """A function that the model called, and its output beside it, so that neither is ever without the other.

    `arguments` is a JSON object, as text.
    """

    id: str
    name: str
    arguments: str
    output: str | None = None
    """None until it is there."""


@dataclass(frozen=True, slots=True)
class Message:
    role: str  # user, assistant
    content: str
    calls: tuple[Call, ...] = ()
    """Of an assistant."""

    @property
    def chars(self) -> int:
        return len(self.content) + sum(len(call.arguments) + len(call.output or "") for call in self.calls)


def answer_call(messages: list[Message], call_id: str, output: str) -> bool:
    """Put the output of a call that waits for it beside it; whether there was one."""
    for index, message in enumerate(messages):
        for place, call in enumerate(message.calls):
            if call.id == call_id and call.output is None:
                calls = list(message.calls)
                calls[place] = replace(call, output=output)
                messages[index] = replace(message, calls=tuple(calls))
                return True
    return False


@dataclass
class History:
    """Bounded by characters: what was called goes first, then the oldest; the newest always stays, and with
    calls that were not gone on from, their question.

    A conversation never goes on from an answer whose question is gone.
    """

    max_chars: int
    messages: list[Message] = field(default_factory=list)

    def copy(self) -> History:
        return History(self.max_chars, list(self.messages))

    def user(self, text: str) -> None:
        self.add("user", text)

    def assistant(self, text: str) -> Message | None:
        return self.add("assistant", text) if text else None

    def replace(self, old: Message, text: str) -> Message | None:
        """It was this that was said, or nothing; what is not there any more stays away."""
        new = replace(old, content=text) if text or old.calls else None
        for index, message in enumerate(self.messages):
            if message is old:
                self.messages[index : index + 1] = [new] if new else []
                break
        return new

    def add(self, role: str, text: str, calls: tuple[Call, ...] = ()) -> Message:
        message = Message(role, text, calls)
        self.messages.append(message)
        while self._too_long() or self.messages[0].role == "assistant":
            called = [index for index, message in enumerate(self.messages[:-1]) if message.calls]
            oldest = called[0] if called and self.messages[0].role == "user" else 0
            if oldest == self._question():
                break
            del self.messages[oldest]
        return message

    def _question(self) -> int:
        """The first message of what always stays."""
        newest = len(self.messages) - 1
        if not self.messages[newest].calls:
            return newest
        return max((i for i, message in enumerate(self.messages) if message.role == "user"), default=newest)

    def _too_long(self) -> bool:
        return sum(message.chars for message in self.messages) > self.max_chars


class HistoryStore:
    """Conversations of sessions whose connection broke, for a client that comes back in time."""

    def __init__(self, keep_s: float, max_kept: int) -> None:
        self._keep_s = keep_s
        self._max_kept = max_kept
        self._kept: OrderedDict[str, tuple[float, History]] = OrderedDict()

    @staticmethod
    def new_token() -> str:
        return secrets.token_urlsafe(24)

    def keep(self, token: str, history: History) -> None:
        self._expire()
        self._kept[token] = (time.monotonic() + self._keep_s, history)
        while len(self._kept) > self._max_kept:
            self._kept.popitem(last=False)

    def take(self, token: str) -> History | None:
        """The conversation behind `token`, once; None if it is unknown or too old."""
        self._expire()
        _, history = self._kept.pop(token, (0.0, None))
        return history

    def _expire(self) -> None:
        now = time.monotonic()
        for token in [token for token, (until, _) in self._kept.items() if until < now]:
            del self._kept[token]
