"""nova's settings: environment variables that begin with NOVA_."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, SecretStr
from pydantic_settings import SettingsConfigDict

from services.nova.contracts import Deadlines
from shared.settings import Port, Seconds, ServiceSettings


class NovaSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="NOVA_", extra="ignore", frozen=True)

    http_port: Port = 8010
    grpc_port: Port = 8011

    contract: Literal["vllm", "trtllm", "openai"] = "vllm"
    """What the upstream speaks: the tensors of Triton's vLLM backend, those of its TensorRT-LLM in the llmapi
    layout, or HTTP as OpenAI's."""
    triton_url: str = "127.0.0.1:8001"
    """host:port of Triton's gRPC endpoint, for vllm and trtllm."""
    openai_url: str = "http://127.0.0.1:8000/v1"
    """Base address of an OpenAI-compatible endpoint, for openai."""
    openai_api_key: SecretStr | None = None
    model: str = "nova"
    """The model's name upstream; also the one name that callers may ask for."""

    max_in_flight: PositiveInt = 64
    """Answers that are generated at once."""
    voice_places: Annotated[int, Field(ge=0)] = 8
    """How many of them only the voice loop may take."""
    max_queue: Annotated[int, Field(ge=0)] = 256
    """Answers that wait for a place, in each lane; more are refused with 429."""
    queue_deadline_s: Seconds = 15.0

    max_body_bytes: PositiveInt = 1 << 20
    max_prompts: PositiveInt = 64
    """Prompts of one REST request."""
    max_tokens: PositiveInt = 4096
    """The most that a request may ask for."""
    default_max_tokens: PositiveInt = 256
    default_temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """0: the same question gets the same answer, unless the caller wants it otherwise."""

    request_deadline_s: Seconds = 120.0
    """From the place that an answer gets to its last token."""
    first_token_deadline_s: Seconds = 20.0
    inter_token_deadline_s: Seconds = 10.0

    circuit_failures: PositiveInt = 5
    """Retryable failures in a row after which the upstream is left alone for a while."""
    circuit_rest_s: Seconds = 1.0
    mend: bool = True
    """Have Triton unload and load a model whose process died; Triton must run in explicit model control."""

    def deadlines(self) -> Deadlines:
        return Deadlines(self.first_token_deadline_s, self.inter_token_deadline_s, self.request_deadline_s)
