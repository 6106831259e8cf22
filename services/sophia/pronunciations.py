"""The words that a deployment wants spoken in a way of its own, as Riva's custom dictionary.

The file is the one that NVIDIA's own clients take: in each line a word, two spaces, and its phonemes, in
IPA or in ARPAbet as `{@V}{@AA1}{@K}{@S}`. Lines that begin with # are notes.
"""

from __future__ import annotations

from pathlib import Path

from shared.errors import SettingsError


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
