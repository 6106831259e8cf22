"""`voxloop smoke`: the validation list of a DGX, each point by a real request, as a checklist to keep.

A point is ticked, not ticked, or does not apply on this machine, which then says why. What the doctor has
already asked is not asked again: most points are its verdicts, gathered; each pipeline is tried on its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape

from services.sophia.answers import Answers
from services.sophia.events import Animation
from services.sophia.face import Face
from services.sophia.history import Message
from shared.audio import RATE, is_silent, read_wav
from shared.errors import PeerProtocol, VoxloopError
from voxloop import peers as asking
from voxloop.bench.report import machine
from voxloop.doctor.checks import Result, Verdict
from voxloop.doctor.diagnosis import diagnose
from voxloop.doctor.settings import DoctorSettings
from voxloop.paths import QUESTION
from voxloop.peers import Peers, outcome

SAID = "What is the capital of France?"
GRAFANA_DASHBOARDS = "/api/search?type=dash-db"


class Tick(StrEnum):
    DONE = "done"
    FAILED = "failed"
    NOT_HERE = "not applicable"


@dataclass(frozen=True)
class Point:
    id: str
    title: str
    tick: Tick
    why: str
    do: str = ""


@dataclass(frozen=True)
class Checklist:
    points: tuple[Point, ...]

    @property
    def status(self) -> int:
        return int(any(point.tick is Tick.FAILED for point in self.points))

    def as_json(self) -> dict[str, Any]:
        return {"status": self.status, "machine": machine(), "points": [vars(point) for point in self.points]}

    def markdown(self) -> str:
        lines = ["# Voxloop: validation", ""]
        for point in self.points:
            box = "x" if point.tick is Tick.DONE else " "
            not_here = "does not apply here: " if point.tick is Tick.NOT_HERE else ""
            lines.append(f"- [{box}] **{point.title}**: {not_here}{_one_line(point.why)}")
            if point.do:
                lines.append(f"  - to do: {_one_line(point.do)}")
        return "\n".join([*lines, ""])

    def save(self, folder: Path) -> tuple[Path, Path]:
        """smoke.md and smoke.json."""
        folder.mkdir(parents=True, exist_ok=True)
        as_text, as_data = folder / "smoke.md", folder / "smoke.json"
        as_text.write_text(self.markdown())
        as_data.write_bytes(orjson.dumps(self.as_json(), option=orjson.OPT_INDENT_2))
        return as_text, as_data

    def show(self, console: Console) -> None:
        marks = {Tick.DONE: "[green]☑[/]", Tick.FAILED: "[red]☐[/]", Tick.NOT_HERE: "[dim]–[/]"}
        for point in self.points:
            line = f"{marks[point.tick]} {point.title}: {escape(point.why)}"
            console.print(line, highlight=False, soft_wrap=True)
            if point.do:
                console.print(f"  [dim]→[/] {escape(point.do)}", highlight=False, soft_wrap=True)


async def run(
    settings: DoctorSettings, grafana: str, prometheus: str, grafana_password: str = ""
) -> Checklist:
    """Raises SettingsError."""
    where = asking.from_environment()
    found = {result.id: result for result in (await diagnose((1, 2, 3), settings)).results}
    pipelines = [
        await _try("nova", "nova answers a question", _ask_nova(where)),
        await _try("tts", "Riva speaks", _speak(where)),
        await _try("aurora", "aurora animates speech", _animate(where)),
    ]
    boards = await asyncio.gather(
        _dashboard("prometheus", "Prometheus scrapes", f"{prometheus}/api/v1/targets?state=active"),
        _dashboard(
            "grafana", "Grafana has its dashboards", f"{grafana}{GRAFANA_DASHBOARDS}", grafana_password
        ),
    )
    return Checklist(
        (
            _verdict("nvidia_smi", "nvidia-smi shows every GPU", found, "gpus", "driver"),
            _verdict(
                "gpu_container", "a container sees the GPUs", found, "container_toolkit", "gpu_container"
            ),
            _verdict("riva_quickstart", "Riva's quickstart is set up", found, "riva_config"),
            _verdict("riva", "Riva answers over TLS", found, "riva"),
            _verdict("triton", "Triton answers an inference", found, "triton"),
            _verdict("audio2face", "Audio2Face animates", found, "audio2face"),
            _verdict("services", "nova, sophia and aurora are ready", found, "nova", "sophia", "aurora"),
            *pipelines,
            _verdict("turn", "a spoken question is heard, answered, spoken and animated", found, "turn"),
            _verdict("dcgm", "dcgm-exporter has metrics", found, "dcgm"),
            *boards,
        )
    )


def _verdict(name: str, title: str, found: dict[str, Result], *checks: str) -> Point:
    """Ticked where every one of these checks is good enough."""
    results = [found[check] for check in checks]
    for result in results:
        if result.verdict.bad:
            return Point(name, title, Tick.FAILED, result.why, result.do)
    absent = (Verdict.SKIPPED, Verdict.INFO)
    if all(result.verdict in absent for result in results):
        return Point(name, title, Tick.NOT_HERE, results[0].why)
    return Point(name, title, Tick.DONE, "; ".join(r.why for r in results if r.verdict not in absent))


async def _try(name: str, title: str, request: Awaitable[str]) -> Point:
    said = await outcome(name, request)
    if isinstance(said, VoxloopError):
        return Point(name, title, Tick.FAILED, said.message, said.hint or "`voxloop doctor` says more.")
    return Point(name, title, Tick.DONE, said)


async def _ask_nova(peers: Peers) -> str:
    answers = Answers(peers.nova, "", asking.ANSWER_S, asking.ANSWER_S)
    try:
        question = [Message("user", SAID)]
        async with aclosing(answers.generate(question, max_tokens=40, temperature=0.0)) as pieces:
            text = "".join([piece async for piece in pieces if isinstance(piece, str)]).strip()
    finally:
        await answers.close()
    if not text:
        raise PeerProtocol("nova", "answered nothing")
    return f"{SAID!r} → {text!r}"


async def _speak(peers: Peers) -> str:
    """Text to sound; the other way is what the spoken question shows."""
    async with (
        asking.open_riva(peers) as riva,
        aclosing(riva.synthesize(SAID, "en-US", "", RATE)) as pieces,
    ):
        pcm = b"".join([piece.pcm async for piece in pieces])
    if is_silent(pcm):
        raise PeerProtocol("riva", "spoke only silence")
    return f"{len(pcm) / 2 / RATE:.2f} s of speech"


async def _animate(peers: Peers) -> str:
    face = Face(peers.aurora)
    try:
        stream = face.animate("smoke", 1, RATE)
        stream.audio(read_wav(QUESTION, RATE))
        stream.end()
        async with aclosing(stream.frames()) as parts:
            frames = [part async for part in parts if isinstance(part, Animation)]
    finally:
        await face.close()
    if not frames:
        raise PeerProtocol("aurora", "sent no frame")
    return f"{len(frames)} frames"


async def _dashboard(name: str, title: str, url: str, password: str = "") -> Point:
    """Monitoring is a profile of the compose files: where nobody listens, it is not switched on.

    An empty list is a failure: it runs, and shows or scrapes nothing.
    """
    answer = await outcome(name, asking.get(name, url, password=password))
    if not isinstance(answer, VoxloopError):
        count = _entries(answer.content)
        if count:
            return Point(name, title, Tick.DONE, f"{count} at {url}")
        return Point(name, title, Tick.FAILED, f"none at {url}", f"`docker compose logs {name}`")
    if answer.code == "peer_unavailable":
        return Point(name, title, Tick.NOT_HERE, f"{answer.message}; the compose profile is not running")
    hint = "" if password or name != "grafana" else "VOXLOOP_GRAFANA_PASSWORD is not set. "
    return Point(name, title, Tick.FAILED, answer.message, f"{hint}`docker compose logs {name}`")


def _entries(body: bytes) -> int:
    """How many dashboards Grafana lists, or targets Prometheus."""
    try:
        told = orjson.loads(body)
        return len(told) if isinstance(told, list) else len(told["data"]["activeTargets"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return 0


def _one_line(text: str) -> str:
    return " ".join(text.split())
