"""Every setting of aurora, read from AURORA_… in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from services.aurora.classic import Scene
from services.aurora.livelink_packet import Host
from services.aurora.take import Format
from shared.channels import Endpoint
from shared.settings import Port, Seconds, ServiceSettings


class AuroraSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="AURORA_", extra="ignore", frozen=True)

    http_port: Port = 8030
    grpc_port: Port = 8031

    a2f_uri: str = "127.0.0.1:52000"
    a2f_tls: bool = False
    a2f_ca: Path | None = None
    a2f_client_cert: Path | None = None
    a2f_client_key: Path | None = None
    a2f_api_key: SecretStr | None = None
    """Sent as `authorization: Bearer …`, with a2f_function_id, to a hosted Audio2Face."""
    a2f_function_id: str = ""

    a2f_contract: Literal["audio2face-3d", "classic"] = "audio2face-3d"
    """`classic`: Omniverse Audio2Face's streaming player (port 50051), whose frames go by Live Link."""
    a2f_rest: str = ""
    """Classic: http://127.0.0.1:8011, for emotions, Live Link and the stage. Empty: sound alone."""
    a2f_player: str = "/World/audio2face/PlayerStreaming"
    a2f_core: str = "/World/audio2face/CoreFullface"
    a2f_livelink: str = "/World/audio2face/StreamLivelink"
    """Live Link's node, which is switched on; empty leaves it as it is."""
    a2f_usd: str = ""
    """The stage that Audio2Face loads first, by its own path to it."""

    write_timeout_s: Seconds = 2.0
    """How long Audio2Face may refuse to take more sound."""
    frame_timeout_s: Seconds = 3.0
    """How long Audio2Face may owe us a frame, or the end of its stream."""
    caller_timeout_s: Seconds = 30.0
    """How long the caller of Animate may send nothing, or take no frame."""
    trailing_silence_ms: Annotated[int, Field(ge=0, le=5000)] = 500
    """Silence after the speech, so that Audio2Face closes the mouth; its frames are not sent on."""

    rotate_s: Annotated[float, Field(ge=1, le=260)] = 240.0
    """Sound after which, in the next pause or 30 s later, a new stream follows; Audio2Face takes 300 s."""

    ahead_s: Annotated[float, Field(ge=2)] = 8.0
    """Sound of a turn whose frames the caller has not taken yet; beyond it the caller is read no further."""
    viewer_buffer_ms: Annotated[float, Field(ge=0, le=60_000)] = 120.0
    """Viewers get a frame this long before its sound is heard, so that the network's jitter does not show."""
    viewer_queue: Annotated[int, Field(ge=8)] = 64
    """Messages that wait for one viewer, about two seconds; when full, the oldest are dropped and counted."""
    viewer_timeout_s: Seconds = 10.0
    """A viewer that takes nothing for this long is disconnected."""
    max_viewers: Annotated[int, Field(ge=1)] = 100

    record: Path | None = None
    """A folder: every session is recorded there, with its voice."""
    record_formats: Annotated[tuple[Format, ...], NoDecode, Field(min_length=1)] = ("usd",)
    """`usd` (needs the extra `record`), `csv`, or both with a comma; the WAV lies beside them."""

    livelink: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts of Unreal, separated by commas: `host` or `host:port`, 11111 if it is left out."""
    livelink_subject: Annotated[str, Field(min_length=1, max_length=60)] = "voxloop"
    """The face's name in Unreal's list of subjects."""

    @field_validator("record_formats", "livelink", mode="before")
    @classmethod
    def _by_comma(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("livelink")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            Host.parse(host)
        return hosts

    def livelink_hosts(self) -> tuple[Host, ...]:
        return tuple(Host.parse(host) for host in self.livelink)

    def audio2face(self) -> Endpoint:
        metadata = [("function-id", self.a2f_function_id)] if self.a2f_function_id else []
        if self.a2f_api_key:
            metadata.append(("authorization", f"Bearer {self.a2f_api_key.get_secret_value()}"))
        return Endpoint(
            "audio2face",
            self.a2f_uri,
            self.a2f_tls,
            self.a2f_ca,
            self.a2f_client_cert,
            self.a2f_client_key,
            tuple(metadata),
        )

    def scene(self) -> Scene:
        return Scene(self.a2f_rest, self.a2f_player, self.a2f_core, self.a2f_livelink, self.a2f_usd)
