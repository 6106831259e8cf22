"""Every setting of sophia, read from SOPHIA_… in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from services.sophia.context import Context
from services.sophia.tool_use import ToolLimits
from shared.channels import Endpoint
from shared.settings import Port, Seconds, ServiceSettings

Milliseconds = Annotated[int, Field(ge=0)]


class SophiaSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SOPHIA_", extra="ignore", frozen=True)

    http_port: Port = 8020

    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Web pages of other hosts that may open a session, separated by commas: https://avatar.example.com."""

    riva_uri: str = "127.0.0.1:50051"
    riva_tls: bool = True
    riva_ca: Path | None = None
    riva_client_cert: Path | None = None
    riva_client_key: Path | None = None
    riva_api_key: SecretStr | None = None
    """Sent as `authorization: Bearer …`, with riva_function_id, to a hosted Riva."""
    riva_function_id: str = ""

    nova_uri: str = "127.0.0.1:8011"
    nova_api_key: SecretStr | None = None
    nova_model: str = ""

    aurora_uri: str = "127.0.0.1:8031"
    aurora_api_key: SecretStr | None = None

    # Turn-taking, in ms. Riva's endpointing runs on its own defaults where a value is 0.
    asr_start_history_ms: Milliseconds = 0
    asr_stop_history_ms: Milliseconds = 0
    quiet_final_ms: Milliseconds = 2000
    """After this much quiet with nothing new from Riva, its interim counts as the final; 0: never."""
    end_of_turn: str = ""
    """module:callable, an async function that says whether a final ends a turn: see docs/voice.md."""
    end_of_turn_deadline_ms: Annotated[int, Field(gt=0)] = 100
    """What it has not said by then is not waited for."""
    end_of_turn_wait_ms: Milliseconds = 1500
    """Where it says to wait and nothing more is said, the answer comes after this long."""
    early_start: bool = False
    """Begin to answer a stable interim when its speaker pauses. What the final does not confirm is thrown
    away unheard; voxloop_sophia_early_starts_total tells how often, which is what it costs."""
    early_stability: Annotated[float, Field(gt=0, le=1)] = 0.85
    """From which stability on an interim is answered early."""
    asr_early_history_ms: Milliseconds = 160
    """With early_start: the silence after which Riva guesses the final (stop_history_eou)."""
    hush_after_ms: Milliseconds = 96
    """Speech over a reply that lasts this long pauses the sound."""
    speech_stop_ms: Milliseconds = 300
    interrupt_after_ms: Milliseconds = 1200
    """Speech over a reply that lasts this long interrupts it, even where no word was recognised."""
    resume_after_ms: Milliseconds = 500
    """A paused reply goes on when this long after the speech no word has come."""
    word_ms: Milliseconds = 300
    """Words over a reply, of less speech than this, may be a cough or a murmur: the shorter it was, the surer
    Riva has to be of them before they interrupt. With 0, every word is believed."""
    sure_stability: Annotated[float, Field(ge=0, le=1)] = 0.75
    """So stable an interim of no speech at all has to be, and half as stable one of half of `word_ms`; or the
    next one says the same."""
    sure_confidence: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The same of a final's confidence."""

    pronunciations: Path | None = None
    """A file of words and how they are spoken, `word  phonemes` in each line: see docs/voice.md."""
    lead_ms: Milliseconds = 300
    """Audio is sent at most this far ahead of the listener."""
    late_frame_ms: Milliseconds = 100
    """A face frame is dropped when its sound was heard longer ago than this."""

    max_tokens: Annotated[int, Field(ge=1)] = 256
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    context_tokens: Annotated[int, Field(ge=256)] = 4096
    """What the model can hold: the system prompt, the conversation and the answer. No more is ever sent."""
    bytes_per_token: Annotated[float, Field(ge=1, le=8)] = 1.0
    """How tokens are estimated. 1 is safe with every tokenizer; 3 is usual for English, and lets more in."""
    max_history_chars: Annotated[int, Field(ge=200)] = 1600
    max_sessions: Annotated[int, Field(ge=1)] = 256
    retry_after_s: Seconds = 5.0
    """When a client that was refused should come back."""
    opens_per_minute: Annotated[int, Field(ge=0)] = 0
    """How many sessions one client address may open a minute; 0 means any number."""
    idle_s: Seconds = 300.0
    """A session in which nothing was sent for this long, either way, is closed."""
    max_session_s: Seconds = 7200.0
    """A session is closed after this long; its client may take it up by `resume`."""
    max_utterance_s: Seconds = 60.0
    """What somebody says without a pause is answered after this long."""
    max_turn_s: Seconds = 300.0
    """A reply is cut after this long."""
    max_text_chars: Annotated[int, Field(ge=1)] = 2000
    """Of one typed turn, and of a session's system prompt."""
    resume_s: Seconds = 120.0
    """How long a broken session's conversation is kept for a client that comes back."""

    tools: Path | None = None
    """A JSON file of the functions that the model may call in every session: see docs/voice.md."""
    tools_api_key: SecretStr | None = None
    """Sent to them as `authorization: Bearer …`."""
    tool_deadline_s: Seconds = 10.0
    """How long one call may take."""
    tool_rounds: Annotated[int, Field(ge=1, le=16)] = 4
    """How often the model may call within one reply; then it has to answer."""
    max_tool_chars: Annotated[int, Field(ge=100)] = 1000
    """Of the output of one call; a longer one is told to the model as an error."""

    answer_deadline_s: Seconds = 60.0
    first_token_deadline_s: Seconds = 10.0
    speech_deadline_s: Seconds = 5.0
    """The longest wait for the next piece of synthesised audio."""
    face_grace_s: Seconds = 1.0
    """How long a reply whose sound is all sent waits for the last frames of the face."""

    drain_s: Seconds = 2.5
    """How long running turns may take to finish after SIGTERM. (`voxloop up` waits 6 s in all.)"""
    drain_to: str = ""
    """The address at which clients go on when this process ends, where there is one."""

    system: str = ""
    """The system prompt of sessions that bring none."""

    web: Path = Path(__file__).resolve().parents[2] / "web"
    """The folder of the page at `/`."""

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(origin.strip() for origin in value.split(",") if origin.strip())
        return value

    @model_validator(mode="after")
    def _riva_ends_first(self) -> Self:
        if 0 < self.quiet_final_ms <= self.asr_stop_history_ms:
            raise ValueError(
                "SOPHIA_QUIET_FINAL_MS must be more than SOPHIA_ASR_STOP_HISTORY_MS, or 0: "
                "Riva's own final comes after that"
            )
        return self

    @model_validator(mode="after")
    def _room_for_a_question(self) -> Self:
        if not self.context().takes(self.system):
            raise ValueError(
                "SOPHIA_CONTEXT_TOKENS has no room for a question beside SOPHIA_SYSTEM and SOPHIA_MAX_TOKENS"
            )
        return self

    def context(self) -> Context:
        return Context(self.context_tokens, self.max_tokens, self.bytes_per_token)

    def tool_limits(self) -> ToolLimits:
        return ToolLimits(self.tool_deadline_s, self.tool_rounds, self.max_tool_chars)

    def riva(self) -> Endpoint:
        metadata = [("function-id", self.riva_function_id)] if self.riva_function_id else []
        return Endpoint(
            "riva",
            self.riva_uri,
            self.riva_tls,
            self.riva_ca,
            self.riva_client_cert,
            self.riva_client_key,
            (*metadata, *_bearer(self.riva_api_key)),
        )

    def nova(self) -> Endpoint:
        return Endpoint("nova", self.nova_uri, metadata=_bearer(self.nova_api_key))

    def aurora(self) -> Endpoint:
        return Endpoint("aurora", self.aurora_uri, metadata=_bearer(self.aurora_api_key))


def _bearer(key: SecretStr | None) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key.get_secret_value()}"),) if key else ()
