"""How the engine is set up: the parameters of config.pbtxt, and what the environment overrides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from .sampling import MAX_N


@dataclass(frozen=True)
class Options:
    model: str
    """Path of a GGUF file or an OpenVINO folder."""
    threads: int
    max_running: int
    max_waiting: int
    max_context: int
    cache_tokens: int
    precision: Literal["exact", "fast"]
    stall_s: int
    """A process that stands still for so long while it loads its model is started again."""

    @classmethod
    def read(cls, parameters: Mapping[str, str], environment: Mapping[str, str], folder: Path) -> Options:
        """A relative path of the parameters begins at `folder`. Raises ValueError that names the value."""

        def number(name: str, low: int, text: str | None = None) -> int:
            text = parameters.get(name, "") if text is None else text
            if not text.isdecimal() or int(text) < low:
                raise ValueError(f"{name} must be a whole number from {low}, not {text!r}")
            return int(text)

        precision = environment.get("VOXLOOP_MODEL_PRECISION") or parameters.get("precision")
        if precision not in ("exact", "fast"):
            raise ValueError(f"precision must be exact or fast, not {precision!r}")
        return cls(
            model=environment.get("VOXLOOP_MODEL") or str(folder / parameters["model"]),
            threads=number("threads", 1, environment.get("VOXLOOP_MODEL_THREADS")),
            max_running=number("max_running", MAX_N),
            max_waiting=number("max_waiting", 0),
            max_context=number("max_context", 2),
            cache_tokens=number("cache_tokens", 1),
            precision="exact" if precision == "exact" else "fast",
            stall_s=number("stall_s", 1),
        )

    @classmethod
    def from_json(cls, text: str) -> Options:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))
