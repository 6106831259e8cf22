"""Phase 2's facts: what NVIDIA's registry needs and gave, and how each engine answers a real request."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable
from pathlib import Path

import orjson

from shared.errors import PeerProtocol, VoxloopError
from voxloop import peers as asking
from voxloop.doctor.command import run
from voxloop.doctor.facts import Answer, Driver, Engines, RivaConfig
from voxloop.doctor.machine import has_module
from voxloop.doctor.settings import DoctorSettings
from voxloop.peers import Peers

REGISTRY = "nvcr.io"
KEY_VARIABLES = ("NGC_API_KEY", "NGC_CLI_API_KEY", "NVIDIA_API_KEY")
COMPOSE = "docker-compose.triton.yml"
_IMAGE = re.compile(
    r"^ +image: (?P<image>\S+/[^\s$]+)\$\{(?P<tag>\w+).*\n( +profiles: \[(?P<profiles>.*)\])?", re.MULTILINE
)
"""How the compose file names an image, whose version is in .env, and the profiles that want it."""
_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<value>.*)")
_RIVA_NAMES = re.compile(r"service_enabled_\w+|gpus_to_use|riva_model_loc|riva_speech_api_port|ssl_\w+")
"""What is read of Riva's config.sh. RIVA_API_KEY is not."""


async def read_engines(settings: DoctorSettings, driver: Driver, peers: Peers) -> Engines:
    (present, fault), triton, riva, audio2face, dcgm = await asyncio.gather(
        _images(settings, wanted_images(settings.env_file)),
        _answer(peers.upstream_address, asking.ask_upstream(peers), "triton"),
        _answer(peers.riva.target, asking.ask_riva(peers), "riva"),
        _answer(peers.audio2face.target, asking.ask_audio2face(peers), "audio2face"),
        _answer(settings.dcgm_url, _ask_dcgm(settings.dcgm_url), "dcgm-exporter")
        if driver.gpus
        else _not_asked(settings.dcgm_url),
    )
    return Engines(
        key_source=_key_source(),
        registry_login=_logged_in(),
        images=present,
        images_fault=fault,
        riva_config=read_riva_config(settings.riva_quickstart),
        nemo="nemo_automodel" if has_module("nemo_automodel") else None,
        triton=triton,
        riva=riva,
        audio2face=audio2face,
        dcgm=dcgm,
    )


async def _answer(where: str, request: Awaitable[object], peer: str) -> Answer:
    error = await asking.outcome(peer, request)
    return Answer(where, error.message, error.hint) if isinstance(error, VoxloopError) else Answer(where)


async def _not_asked(where: str) -> Answer:
    return Answer(where)


async def _ask_dcgm(url: str) -> None:
    if "DCGM_FI_" not in (await asking.get("dcgm-exporter", url)).text:
        raise PeerProtocol("dcgm-exporter", f"{url} has no metric of a GPU")


def wanted_images(env_file: Path) -> tuple[str, ...]:
    """NVIDIA's images as the compose file beside `env_file` names them, of the profiles that are on."""
    values = _assignments(env_file.with_name(".env.example")) | _assignments(env_file)
    on = set(values.get("COMPOSE_PROFILES", "").split(","))
    found = [
        f"{match['image']}{values[match['tag']]}"
        for match in _IMAGE.finditer(_text(env_file.with_name(COMPOSE)))
        if match["tag"] in values and (not match["profiles"] or on & set(match["profiles"].split(", ")))
    ]
    return tuple(dict.fromkeys(found))


def _assignments(path: Path) -> dict[str, str]:
    """NAME=value lines of an env file or a shell script; the last of each name counts."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    found = (_ASSIGNMENT.match(line.strip().removeprefix("export ")) for line in lines)
    return {match["name"]: match["value"].split(" #")[0].strip().strip("\"'") for match in found if match}


async def _images(settings: DoctorSettings, wanted: tuple[str, ...]) -> tuple[dict[str, bool], str]:
    if not wanted:
        return {}, ""
    listed = await run(
        "docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", deadline_s=settings.command_s
    )
    here = set(listed.out.split())
    return ({image: image in here for image in wanted}, "") if listed.ok else ({}, listed.fault)


def _key_source() -> str | None:
    """Where a key is, never which."""
    for variable in KEY_VARIABLES:
        if os.environ.get(variable):
            return f"the variable {variable}"
    config = Path(os.environ.get("NGC_CLI_HOME") or Path.home()) / ".ngc" / "config"
    return str(config) if re.search(r"^\s*apikey\s*=\s*\S", _text(config), re.MULTILINE) else None


def _logged_in() -> bool:
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        config = orjson.loads(_text(folder / "config.json") or "{}")
    except orjson.JSONDecodeError:
        return False
    known = [config.get("auths"), config.get("credHelpers")] if isinstance(config, dict) else []
    return any(REGISTRY in section for section in known if isinstance(section, dict))


def read_riva_config(folder: Path) -> RivaConfig | None:
    """config.sh, and what `deploy/ngc/riva.sh` lays over it."""
    files = [path for path in (folder / "config.sh", folder / "voxloop.sh") if path.is_file()]
    if not files:
        return None
    values: dict[str, str] = {}
    for path in files:
        values |= {name: value for name, value in _assignments(path).items() if _RIVA_NAMES.fullmatch(name)}
    return RivaConfig(str(files[-1]), values)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
