"""Cuts streamed text into what is spoken in one breath.

The first clause leaves as early as possible, since the listener waits for it; later ones are whole
sentences, which sound better. Nothing longer than MAX_CHARS is sent to the TTS (Riva is safest at
200 characters a request).
"""

from __future__ import annotations

import re

MAX_CHARS = 200
MIN_FIRST_CHARS = 12
"""A comma ends the first clause only behind this much text: "Yes," alone sounds clipped."""

_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st vs etc no nr jr sr inc ltd co bzw usw ca evtl ggf inkl max min tel str".split(" ")
)
_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s)|\n+|[!?…]+[\"'”’»)\]]*$|(?<=[^\W\d_]{3})\.$")
_PAUSE = re.compile(r"[,;:](?=\s)|\s[–—](?=\s)")
_LIST_NUMBER = re.compile(r"(^|\n)\s*\d+\.$")
_LAST_WORD = re.compile(r"([^\W\d_]+)\.$")
_MARKDOWN = (
    (re.compile(r"```.*?(```|$)", re.DOTALL), " "),
    (re.compile(r"!?\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"^\s{0,3}(#{1,6}|[-*+]|>|\d+\.(?=\s+[^\W\d]))[ \t]+(?=\S)", re.MULTILINE), ""),
    (re.compile(r"(?<!\w)[*_`~]{1,3}(?=\S)|(?<=\S)[*_`~]{1,3}(?!\w)"), ""),
)


def speakable(text: str) -> str:
    """Without markdown, in one line."""
    for pattern, replacement in _MARKDOWN:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def _sounds(clause: str) -> bool:
    """Whether there is anything to speak: of dots or a smiley, the TTS makes nothing, or an error."""
    return any(character.isalnum() for character in clause)


class Clauses:
    """Feed it pieces of text; it gives back what is ready to be spoken."""

    def __init__(self) -> None:
        self._text = ""
        self._first = True

    def feed(self, piece: str) -> list[str]:
        self._text += piece
        ready = []
        while (end := self._boundary()) is not None:
            clause = speakable(self._text[:end])
            self._text = self._text[end:]
            if _sounds(clause):
                self._first = False
                ready.append(clause)
        return ready

    def flush(self) -> list[str]:
        """What is left when the answer has ended."""
        ready = self.feed("\n")
        rest = speakable(self._text)
        self._text = ""
        return [*ready, rest] if _sounds(rest) else ready

    def _boundary(self) -> int | None:
        # What is longer is cut in any case: looking further would cost, and bring nothing.
        text = self._text[: MAX_CHARS + 1]
        ends = (match.end() for match in _END.finditer(text))
        end = next((end for end in ends if not self._is_abbreviation(end)), None)
        if self._first and (pause := _PAUSE.search(text, MIN_FIRST_CHARS)):
            end = pause.end() if end is None else min(end, pause.end())
        return self._capped(end)

    def _is_abbreviation(self, end: int) -> bool:
        """Or the number of a list's item: a dot that ends nothing."""
        if _LIST_NUMBER.search(self._text[:end]):
            return True
        word = _LAST_WORD.search(self._text[:end])
        return word is not None and (len(word[1]) == 1 or word[1].lower() in _ABBREVIATIONS)

    def _capped(self, end: int | None) -> int | None:
        if (end if end is not None else len(self._text)) <= MAX_CHARS:
            return end
        window = self._text[:MAX_CHARS]
        cut = max(window.rfind(mark) + 1 for mark in (",", ";", ":"))
        return cut or window.rfind(" ") + 1 or MAX_CHARS
