"""The parameters that a caller may set, checked the same way for REST and gRPC."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.nova.contracts import Sampling
from services.nova.settings import NovaSettings
from shared.errors import InputError

StopString = Annotated[str, Field(min_length=1, max_length=256)]


MAX_FIELDS = 64
MAX_MESSAGES = 1024


class Body(BaseModel):
    """What is wrong a hundred thousand times is told once: to list it would hold everybody else up."""

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, data: object) -> object:
        if isinstance(data, dict) and len(data) > MAX_FIELDS:
            raise ValueError(f"more than {MAX_FIELDS} fields")
        return data


class SamplingFields(Body):
    """What is left out (or null) is the service's default, or the engine's."""

    model_config = ConfigDict(strict=True)

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    stop: StopString | Annotated[list[StopString], Field(fail_fast=True, max_length=4)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None

    def sampling(self, settings: NovaSettings) -> Sampling:
        if self.max_tokens is not None and self.max_tokens > settings.max_tokens:
            raise InputError(f"max_tokens: at most {settings.max_tokens} here, not {self.max_tokens}")
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(
            max_tokens=self.max_tokens or settings.default_max_tokens,
            temperature=settings.default_temperature if self.temperature is None else self.temperature,
            top_p=self.top_p,
            stop=stop,
            seed=self.seed,
        )
