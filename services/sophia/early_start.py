"""A reply that was begun on a stable interim: made ready, kept back, and thrown away unheard unless the
final says the same."""

from __future__ import annotations

from services.sophia.metrics import EARLY_STARTS
from services.sophia.turn import Reply
from services.sophia.words import words


class EarlyStarts:
    """Of one session: at most one is under way."""

    def __init__(self) -> None:
        self._reply: Reply | None = None
        self._words: list[str] = []

    def answers(self, text: str) -> bool:
        """Whether the one that is under way is for these words."""
        return self._reply is not None and self._words == words(text)

    def keep(self, text: str, reply: Reply) -> None:
        """`reply`, which is held, answers `text`, and no other one is under way."""
        self._reply, self._words = reply, words(text)

    def confirm(self, text: str) -> Reply | None:
        """The reply to these words, where it has begun; it is the caller's from now on."""
        if not self.answers(text):
            return None
        EARLY_STARTS.labels("confirmed").inc()
        reply, self._reply = self._reply, None
        return reply

    def drop(self) -> None:
        if self._reply is not None:
            EARLY_STARTS.labels("dropped").inc()
            self._reply.stop()
            self._reply = None

    def failed(self, reply: Reply) -> bool:
        """Whether it was `reply`, which has failed: that is no fault, for the final will try again."""
        if reply is not self._reply:
            return False
        EARLY_STARTS.labels("failed").inc()
        self._reply = None
        return True
