"""What was said in a conversation: the user's words, and of each reply what the listener heard."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Message:
    role: str  # user, assistant
    content: str


@dataclass
class History:
    """Bounded by characters: the oldest goes first, the newest always stays.

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
        new = Message(old.role, text) if text else None
        for index, message in enumerate(self.messages):
            if message is old:
                self.messages[index : index + 1] = [new] if new else []
                break
        return new

    def add(self, role: str, text: str) -> Message:
        message = Message(role, text)
        self.messages.append(message)
        while len(self.messages) > 1 and (self._too_long() or self.messages[0].role == "assistant"):
            del self.messages[0]
        return message

    def _too_long(self) -> bool:
        return sum(len(message.content) for message in self.messages) > self.max_chars


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
