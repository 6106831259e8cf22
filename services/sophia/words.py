"""What counts where one transcript is held against another: punctuation and capitals come late."""

from __future__ import annotations

import re


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
