"""What is downloaded, pinned to which commit, and which model is in use: models.json in the state folder."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embedded.triton import model_file
from shared.errors import InputError, SettingsError, StartupError
from voxloop.model_catalog import DEFAULT
from voxloop.paths import ROOT

NOVA_MINI = ROOT / "models" / "nova" / "1" / "nova-mini.gguf"


class Pinned(BaseModel):
    """A file as the hub described it and as it was checked: by sha256 if large, else by git's sha1."""

    model_config = ConfigDict(frozen=True)

    size: int
    checksum: str


class Downloaded(BaseModel):
    model_config = ConfigDict(frozen=True)

    repo: str
    revision: str
    """A commit, whatever was asked for."""
    patterns: tuple[str, ...]
    path: Path
    """The GGUF file, or the OpenVINO folder."""
    files: dict[str, Pinned]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())


class Chosen(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    path: Path


class Models(BaseModel):
    downloaded: dict[str, Downloaded] = Field(default_factory=dict)
    use: Chosen | None = None
    """None: nova-mini."""


def file_of(state: Path) -> Path:
    return state / "models.json"


def read(state: Path) -> Models:
    """Raises SettingsError for a file that is not what `save` wrote."""
    file = file_of(state)
    try:
        return Models.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Models()
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not what `voxloop model` writes"
        raise SettingsError(
            f"{file}: {reason}.", hint="Remove it; downloaded files are found again."
        ) from None


def save(state: Path, models: Models) -> None:
    file = file_of(state)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        state.mkdir(parents=True, exist_ok=True)
        fresh.write_text(models.model_dump_json(indent=2) + "\n")
        fresh.replace(file)
    except OSError as error:
        raise StartupError(
            f"{file} cannot be written ({error.strerror}).", hint="See VOXLOOP_STATE."
        ) from None


def locate(name: str, models: Models, aliases: tuple[str, ...]) -> Path:
    """The file or folder that an operator means by a name or a path. Raises InputError."""
    if name == DEFAULT:
        return NOVA_MINI
    if name in models.downloaded:
        return models.downloaded[name].path
    if name in aliases:
        raise InputError(f"{name} is not downloaded.", hint=f"Run `voxloop model pull {name}`.")
    path = Path(name).expanduser().absolute()
    if not path.exists():
        raise InputError(
            f"{name} is neither an alias, nor downloaded, nor a file or folder here.",
            hint="See `voxloop model list`.",
        )
    return path


def choose(state: Path, name: str, aliases: tuple[str, ...]) -> model_file.ModelFile:
    """Record what `voxloop up` is to serve. Raises InputError or StartupError for what it could not."""
    models = read(state)
    found = model_file.read(locate(name, models, aliases))
    chosen = None if name == DEFAULT else Chosen(name=name, path=found.path)
    save(state, models.model_copy(update={"use": chosen}))
    return found


def in_use(state: Path) -> Chosen:
    """What `voxloop up` would serve now: VOXLOOP_MODEL, else the recorded choice, else nova-mini."""
    if given := os.environ.get("VOXLOOP_MODEL"):
        return Chosen(name="VOXLOOP_MODEL", path=Path(given).expanduser().absolute())
    return read(state).use or Chosen(name=DEFAULT, path=NOVA_MINI)
