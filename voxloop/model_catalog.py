"""The aliases of models.toml, and how an operator names what is on the hub."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError

from shared.errors import InputError, SettingsError

CATALOG = Path(__file__).with_name("models.toml")
DEFAULT = "default"
"""The name of nova-mini, which comes with the product."""

COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class Alias(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    repo: Annotated[str, Field(pattern=f"^{_REPO.pattern}$")]
    revision: Annotated[str, Field(pattern=f"^{COMMIT.pattern}$")] | None = None
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    size_mb: PositiveInt
    licence: str
    about: str


@dataclass(frozen=True)
class Wish:
    """What to fetch: `name` is what it is called here, `revision` None the newest commit."""

    name: str
    repo: str
    revision: str | None
    patterns: tuple[str, ...]
    """Empty: whatever of the repository makes one model."""


def aliases(catalog: Path = CATALOG) -> dict[str, Alias]:
    """Raises SettingsError for a catalogue that an editor broke."""
    try:
        return TypeAdapter(dict[str, Alias]).validate_python(tomllib.loads(catalog.read_text()))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise SettingsError(f"{catalog}: {where}: {problem['msg']}") from None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{catalog}: {error}") from None


def wish(text: str, patterns: tuple[str, ...], known: dict[str, Alias]) -> Wish:
    """ALIAS or REPO, either with @REVISION. Raises InputError."""
    name, at, revision = text.partition("@")
    if at and not revision:
        raise InputError(f"{text!r} ends where a revision should be named.")
    if name in known:
        alias = known[name]
        return Wish(name, alias.repo, revision or alias.revision, patterns or alias.files)
    if not _REPO.fullmatch(name):
        raise InputError(
            f"there is no alias {name!r}.",
            hint=f"There are {', '.join(known)}, or OWNER/NAME of the model hub.",
        )
    return Wish(name, name, revision or None, patterns)
