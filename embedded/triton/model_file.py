"""What a language model that somebody brings says about itself: its kind, and its chat template.

Read from the file's head, without loading the model. GGUF: the metadata of
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. OpenVINO: a folder as optimum-intel exports it.
(models/nova/1/weights.py reads the same files, in the engine's own environment, for their context length.)
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shared.errors import StartupError

ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""What OpenVINO GenAI builds from a GGUF file."""
MAX_TEMPLATE = 1 << 20
"""Bytes of a chat template; those of today have up to some ten thousand."""

_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of each scalar type."""
_STRING, _ARRAY = 8, 9
_WANTED = ("general.architecture", "tokenizer.chat_template")
_HINT = "A model is a GGUF file, or a folder with openvino_model.xml."


@dataclass(frozen=True)
class ModelFile:
    path: Path
    """Absolute, and not resolved: the hub's cache keeps a file's name in a link."""
    kind: str
    """gguf or openvino"""
    chat_template: str
    """Empty where there is none."""


def read(path: Path) -> ModelFile:
    """Raises StartupError that says why the engine would not take `path`."""
    path = path.expanduser().absolute()
    if path.is_dir():
        return ModelFile(path, "openvino", _template_of_folder(path))
    if not path.is_file():
        raise StartupError(f"the model {path} does not exist.", hint=_HINT)
    try:
        with path.open("rb") as file:
            found = _metadata(file)
    except ValueError as error:  # a UnicodeDecodeError is one
        raise StartupError(f"the model {path} {_complaint(error)}.", hint=_HINT) from None
    except (struct.error, KeyError, OverflowError, MemoryError):
        raise StartupError(f"the model {path} is a damaged GGUF file.") from None
    except OSError as error:
        raise StartupError(f"the model {path} cannot be read ({error.strerror}).") from None
    architecture = found.get("general.architecture", "")
    if architecture not in ARCHITECTURES:
        raise StartupError(
            f"the model {path} is of the architecture {architecture[:40]!r}; "
            f"the embedded engine reads GGUF files of {', '.join(ARCHITECTURES)}.",
            hint="An OpenVINO folder may be of any architecture.",
        )
    if path.suffix != ".gguf":
        raise StartupError(f"the model {path} is a GGUF file whose name must end in .gguf.")
    return ModelFile(path, "gguf", found.get("tokenizer.chat_template", ""))


def _complaint(error: ValueError) -> str:
    return "is a damaged GGUF file" if isinstance(error, UnicodeDecodeError) else str(error)


def _metadata(file: BinaryIO) -> dict[str, str]:
    if file.read(4) != b"GGUF":
        raise ValueError("is not a GGUF file")
    version, _, entries = struct.unpack("<IQQ", file.read(20))
    if version not in (2, 3):
        raise ValueError(f"is GGUF version {version}; 2 and 3 are read")
    found: dict[str, str] = {}
    for _ in range(entries):
        key = _string(file)
        (kind,) = struct.unpack("<I", file.read(4))
        if key in _WANTED and kind == _STRING:
            found[key] = _string(file)
            if len(found) == len(_WANTED):
                break
        else:
            _skip(file, kind)
    return found


def _string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > MAX_TEMPLATE:
        raise ValueError("is a damaged GGUF file")
    data = file.read(length)
    if len(data) < length:
        raise ValueError("is a damaged GGUF file")
    return data.decode()


def _skip(file: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        file.seek(struct.unpack("<Q", file.read(8))[0], 1)
    elif kind == _ARRAY:
        item, count = struct.unpack("<IQ", file.read(12))
        if item in _SCALARS:
            file.seek(_SCALARS[item] * count, 1)
        elif item == _STRING:
            for _ in range(count):
                _skip(file, item)
        else:
            raise ValueError("is a damaged GGUF file")
    else:
        file.seek(_SCALARS[kind], 1)


def _template_of_folder(folder: Path) -> str:
    """A file of its own, as exporters write it now, or an entry of the tokenizer's configuration."""
    for name in ("openvino_model.xml", "openvino_model.bin", "openvino_tokenizer.xml", "config.json"):
        if not (folder / name).is_file():
            raise StartupError(f"the model {folder} is not an OpenVINO model: it lacks {name}.", hint=_HINT)
    try:
        alone = folder / "chat_template.jinja"
        if alone.is_file():
            return alone.read_text(encoding="utf-8")
        configuration = folder / "tokenizer_config.json"
        given = json.loads(configuration.read_bytes()) if configuration.is_file() else {}
        template = given.get("chat_template", "")
        if isinstance(template, list):  # several, by name
            template = {item["name"]: item["template"] for item in template}.get("default", "")
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise StartupError(
            f"the chat template of {folder} cannot be read ({type(error).__name__})."
        ) from None
    return template if isinstance(template, str) else ""
