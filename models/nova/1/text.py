"""From token ids to text that may be sent: whole characters only, and never a stop string.

Pure Python on purpose: the tests import it without any engine.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence

_SPACE = "\u2581".encode()
"""How SentencePiece writes a space."""

_BYTE = re.compile(rb"<0x([0-9A-F]{2})>")
"""How SentencePiece writes a byte that is in no other token."""


def token_bytes(vocabulary: Mapping[bytes, int], special: Iterable[int]) -> list[bytes]:
    """What each token id adds to the text, in UTF-8; special tokens add nothing.

    Takes the vocabularies of byte-level BPE (raw bytes, as OpenVINO gives them) and of SentencePiece.
    """
    table = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for token, index in vocabulary.items():
        byte = _BYTE.fullmatch(token)
        table[index] = bytes.fromhex(byte[1].decode()) if byte else token.replace(_SPACE, b" ")
    for index in special:
        table[index] = b""
    return table


class Detokenizer:
    """Turns the ids of one growing answer into text, a piece at a time, at a constant cost per token."""

    def __init__(self, table: Sequence[bytes]) -> None:
        self._table = table
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, ids: Iterable[int], *, last: bool = False) -> str:
        """The characters that these ids complete; `last` gives up on one that stays incomplete (U+FFFD)."""
        table = self._table
        data = b"".join([table[index] if index < len(table) else b"" for index in ids])
        return self._decoder.decode(data, last)


class Stopper:
    """Cuts an answer at the first stop string, wherever the borders of the pieces fall.

    Text that may turn out to begin a stop string is held back until that is decided.
    """

    def __init__(self, stops: Sequence[str], *, include: bool = False) -> None:
        self._stops = stops
        self._include = include
        self._held = ""
        self.stopped = False

    def feed(self, text: str, *, last: bool = False) -> str:
        """What may be sent now. After `stopped` nothing more; `last` lets go of what was held back."""
        if self.stopped:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        start, stop = min(
            ((index, stop) for stop in self._stops if (index := text.find(stop)) >= 0),
            key=lambda found: (found[0] + len(found[1]), found[0]),  # the one that was complete first
            default=(-1, ""),
        )
        if start >= 0:
            self.stopped, self._held = True, ""
            return text[: start + len(stop)] if self._include else text[:start]
        keep = 0 if last else self._undecided(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _undecided(self, text: str) -> int:
        """Length of the longest end of `text` that a stop string begins with."""
        longest = min(len(text), max(map(len, self._stops)) - 1)
        return next(
            (n for n in range(longest, 0, -1) if any(stop.startswith(text[-n:]) for stop in self._stops)), 0
        )
