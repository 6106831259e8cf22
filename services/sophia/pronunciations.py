"""The words that a deployment wants spoken in a way of its own, as Riva's custom dictionary.

The file is the one that NVIDIA's own clients take: in each line a word, two spaces, and its phonemes, in
IPA or in ARPAbet as `{@V}{@AA1}{@K}{@S}`. Lines that begin with # are notes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from services.sophia.riva import Riva
from services.sophia.session_config import SessionConfig
from shared.audio import RATE
from shared.errors import PeerProtocol, PeerRefused, SettingsError

AT_ONCE = 4
"""So many entries are tried together, which a slow voice speaks before a probe's deadline; where one of them
is refused, half of them, and so on."""


def load(path: Path | None) -> str:
    """`word  phonemes,word  phonemes`. Raises SettingsError."""
    if path is None:
        return ""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise SettingsError(f"SOPHIA_PRONUNCIATIONS: {path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SettingsError(f"SOPHIA_PRONUNCIATIONS: {path} is no text in UTF-8") from None
    return ",".join(
        _entry(path, number, line)
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    )


def _entry(path: Path, number: int, line: str) -> str:
    word, _, phonemes = line.partition("  ")
    word, phonemes = word.strip(), phonemes.strip()
    if not word or not phonemes or "," in line:  # a comma would end the entry on its way to Riva
        raise SettingsError(
            f"SOPHIA_PRONUNCIATIONS: line {number} of {path} is not `word  phonemes`",
            hint="Two spaces between them, and no comma.",
        )
    return f"{word}  {phonemes}"


class Trial:
    """Has Riva's voice speak the words of a dictionary once, which is the only way to ask it for its symbols.

    It is the voice of a session that asks for none, in the language of one that names none.
    """

    def __init__(self, dictionary: str, open_riva: Callable[[str], Riva]) -> None:
        """`open_riva` speaks with the dictionary that it is called with."""
        entries = dictionary.split(",")
        starts = reversed(range(0, len(entries), AT_ONCE))
        self._untried = [entries[start : start + AT_ONCE] for start in starts]  # the last is the next
        self._refused: list[str] = []
        self._open_riva = open_riva

    async def probe(self) -> None:
        """Raises SettingsError with the entries that are refused, and PeerError where Riva is away.

        Called again, it goes on where it was.
        """
        while self._untried:
            entries = self._untried[-1]
            refused = await self._is_refused(entries, ",".join(entries))
            alone = len(entries) == 1
            if refused and alone:
                if await self._is_refused(entries, ""):
                    await self._speak("yes", "")  # raises where it is the voice that refuses whatever comes
                elif await self._is_refused(entries, entries[0]):  # again: a passing fault blames no entry
                    self._refused += entries
            self._untried.pop()
            if refused and not alone:
                half = len(entries) // 2
                self._untried += [entries[half:], entries[:half]]
        if self._refused:
            raise SettingsError(
                "SOPHIA_PRONUNCIATIONS: Riva's voice does not know the symbols of "
                + ", ".join(f"`{entry}`" for entry in self._refused)
            )

    async def _is_refused(self, entries: list[str], dictionary: str) -> bool:
        try:
            await self._speak(" ".join(entry.partition("  ")[0] for entry in entries), dictionary)
        except (PeerRefused, PeerProtocol):
            return True
        return False

    async def _speak(self, text: str, dictionary: str) -> None:
        config, riva = SessionConfig(), self._open_riva(dictionary)
        try:
            async with aclosing(riva.synthesize(text, config.language, config.voice, RATE)) as speech:
                async for _ in speech:
                    pass
        finally:
            await riva.close()
