"""The model repository for a model that the operator brings: the same, but for the chat template.

A chat template travels with its model, in the `chat_template` parameter that nova reads. The one in
models/nova/config.pbtxt is nova-mini's, so another model gets a configuration of its own: a folder
beside the caches that holds that file, and links to all else.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from embedded.triton import model_file
from shared.errors import StartupError

MODEL = "nova"
"""The one model of the repository that VOXLOOP_MODEL concerns."""


def with_model(repository: Path, model: Path, cache: Path) -> Path:
    """The repository to serve instead. Raises StartupError for a model that cannot be served."""
    found = model_file.read(model)
    name = hashlib.sha256(f"{repository}\0{found.path}".encode()).hexdigest()[:16]
    folder = cache / "repositories" / name
    try:
        (folder / MODEL).mkdir(parents=True, exist_ok=True)
        for target in repository.iterdir():
            if target.name != MODEL:
                _link(folder / target.name, target)
        for target in (repository / MODEL).iterdir():
            if target.name != "config.pbtxt":
                _link(folder / MODEL / target.name, target)
        text = configuration((repository / MODEL / "config.pbtxt").read_text(), found)
        _write(folder / MODEL / "config.pbtxt", text)
    except OSError as error:
        raise StartupError(
            f"the model repository {folder} cannot be made ({error.strerror}).",
            hint="Set VOXLOOP_TRITON_CACHE to a folder that can be written.",
        ) from None
    return folder


def configuration(original: str, model: model_file.ModelFile) -> str:
    """`original`, for another model: its file, and its way to take a conversation.

    What ends an answer stands in the model's own file, and the engine's tokenizer puts the token that begins
    a text where the model wants one: neither is said here again.
    """
    config = text_format.Parse(original, model_config_pb2.ModelConfig())  # type: ignore[attr-defined]
    config.parameters["model"].string_value = str(model.path)
    config.parameters["chat_template"].string_value = model.chat_template
    config.parameters.pop("eos", None)
    return str(text_format.MessageToString(config))


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(link)


def _write(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(file)
