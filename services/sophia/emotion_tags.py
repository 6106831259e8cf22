"""Tags of emotion in a reply, `[joy] How nice!`: shown by the face, neither read nor spoken.

A tag holds from its place on. What stands in brackets but is a link (`[text](address)`), a number or more
than one word is text. A single word of small letters at the beginning of a sentence (`[laughs]`) was meant
as a tag: it is not spoken either, and named as unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.emotions import EMOTIONS, NEUTRAL

_TAG = re.compile(r"\[([A-Za-z_]{2,20})\](?!\()[ \t]?")
_UNFINISHED = re.compile(r"\[[A-Za-z_]{0,20}(\][ \t]?)?$")
"""What may still become a tag, or a link, with the next piece."""
_SENTENCE_BEGIN = re.compile(r"(^|[.!?…\n])\s*$")
_KNOWN = frozenset((*EMOTIONS, NEUTRAL))


@dataclass(frozen=True, slots=True)
class Tag:
    name: str
    """In small letters."""

    @property
    def known(self) -> bool:
        return self.name in _KNOWN

    @property
    def values(self) -> dict[str, float]:
        """For aurora.v1; empty for a neutral face."""
        return {} if self.name == NEUTRAL else {self.name: 1.0}


class EmotionTags:
    """Feed it pieces of text; it gives them back with the tags taken out of them, in order."""

    def __init__(self) -> None:
        self._text = ""
        self._before = ""  # the end of the text that was given back

    def feed(self, piece: str) -> list[str | Tag]:
        self._text += piece
        unfinished = _UNFINISHED.search(self._text)
        return self._split(unfinished.start() if unfinished else len(self._text))

    def flush(self) -> list[str | Tag]:
        """What is left when the answer has ended."""
        return self._split(len(self._text))

    def _split(self, end: int) -> list[str | Tag]:
        text, self._text = self._text[:end], self._text[end:]
        parts: list[str | Tag] = []
        at = 0
        for match in _TAG.finditer(text):
            tag = Tag(match[1].lower())
            self._give(parts, text[at : match.start()])
            at = match.start()
            if tag.known or (match[1] == tag.name and _SENTENCE_BEGIN.search(self._before)):
                parts.append(tag)
                at = match.end()
        self._give(parts, text[at:])
        return parts

    def _give(self, parts: list[str | Tag], text: str) -> None:
        if text:
            parts.append(text)
            self._before = (self._before + text)[-8:]
