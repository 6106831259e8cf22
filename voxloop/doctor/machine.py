"""Phase 1's facts: the driver's are given, all else of this machine is read here."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import resource
import shutil
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import psutil

from embedded.face.settings import FaceSettings
from embedded.speech.settings import SpeechSettings
from services.aurora.settings import AuroraSettings
from services.nova.settings import NovaSettings
from services.sophia.settings import SophiaSettings
from shared.settings import load
from voxloop.doctor.command import Ran, run
from voxloop.doctor.facts import Driver, Machine, Port
from voxloop.doctor.settings import DoctorSettings

CUDNN_HEADERS = (
    "/usr/include/cudnn_version.h",
    "/usr/include/x86_64-linux-gnu/cudnn_version.h",
    "/usr/local/cuda/include/cudnn_version.h",
)
CUDNN_WHEELS = ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cudnn")
CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")
NVIDIA, DISPLAY_OR_3D = "0x10de", ("0x0300", "0x0302")
PORT_USERS: Mapping[int, str] = {8000: "Triton HTTP", 8001: "Triton gRPC", 8002: "Triton metrics"} | {
    9400: "dcgm-exporter",
    9090: "Prometheus",
    3000: "Grafana",
}


async def read_machine(settings: DoctorSettings, driver: Driver, images: Iterable[str]) -> Machine:
    async def ask(*argv: str) -> Ran:
        return await run(*argv, deadline_s=settings.command_s)

    nvcc, docker, toolkit, manager, container = await asyncio.gather(
        ask("nvcc", "--version"),
        ask("docker", "info", "--format", "{{.ServerVersion}} {{range $n, $_ := .Runtimes}}{{$n}} {{end}}"),
        ask("nvidia-ctk", "--version"),
        ask("systemctl", "is-active", "nvidia-fabricmanager"),
        _gpu_container(settings, images, driver),
    )
    if nvcc.missing:  # CUDA's own installer leaves it off PATH
        nvcc = await ask("/usr/local/cuda/bin/nvcc", "--version")
    cudnn, source = _cudnn()
    image, tried = container
    docker_version, *runtimes = docker.out.split() if docker.ok else [""]
    return Machine(
        driver=driver,
        pci_gpus=_pci_gpus(),
        nvcc=_version(r"release (\d+\.\d+)", nvcc.out),
        cudnn=cudnn,
        cudnn_source=source,
        docker=docker_version or None,
        docker_fault=docker.fault,
        container_toolkit=_version(r"version (\d[\d.]*)", toolkit.out),
        gpu_runtime=("nvidia" in runtimes or _has_cdi()) if docker.ok else None,
        gpu_container_image=image,
        gpu_container_fault=tried.fault,
        gpu_container_gpus=len(re.findall(r"^GPU \d+:", tried.out, re.MULTILINE)),
        fabric_manager=manager.out.strip() or None,
        disk_free_gb=shutil.disk_usage(_existing(settings.disk)).free / 1e9,
        disk_path=str(settings.disk),
        shm_mb=_shm_mb(),
        memlock_kb=_limit(resource.RLIMIT_MEMLOCK, 1024),
        nofile=_limit(resource.RLIMIT_NOFILE) or 1 << 30,
        ports=_ports(),
    )


async def _gpu_container(
    settings: DoctorSettings, images: Iterable[str], driver: Driver
) -> tuple[str | None, Ran]:
    """`docker run --gpus all … nvidia-smi -L` with an image that is already here: nothing is pulled."""
    if not driver.gpus:
        return None, Ran()
    for image in images:
        here = await run("docker", "image", "inspect", image, deadline_s=settings.command_s)
        if here.ok:
            break
    else:
        return None, Ran()
    flags = ("--rm", "--pull", "never", "--network", "none", "--gpus", "all", "--entrypoint", "nvidia-smi")
    return image, await run("docker", "run", *flags, image, "-L", deadline_s=settings.container_s)


def _version(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None


def _cudnn() -> tuple[str | None, str]:
    """From the header of the toolkit, else from a wheel, beside which no header lies on the system."""
    for header in map(Path, CUDNN_HEADERS):
        try:
            text = header.read_text(errors="replace")
        except OSError:
            continue
        parts = [
            _version(rf"#define CUDNN_{name}\s+(\d+)", text) for name in ("MAJOR", "MINOR", "PATCHLEVEL")
        ]
        if parts[0]:
            return ".".join(part for part in parts if part), str(header)
    for wheel in CUDNN_WHEELS:
        try:
            return metadata.version(wheel), f"the wheel {wheel}"
        except metadata.PackageNotFoundError:
            continue
    return None, ""


def has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _has_cdi() -> bool:
    return any(Path(folder).glob("nvidia*.yaml") for folder in CDI_FOLDERS if Path(folder).is_dir())


def _pci_gpus() -> int:
    count = 0
    for device in Path("/sys/bus/pci/devices").glob("*"):
        try:
            kind = (device / "class").read_text()
            count += (device / "vendor").read_text().strip() == NVIDIA and kind.startswith(DISPLAY_OR_3D)
        except OSError:
            continue
    return count


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _shm_mb() -> float | None:
    try:
        return shutil.disk_usage("/dev/shm").total / 1e6  # noqa: S108 - looked at only
    except OSError:
        return None


def _limit(which: int, unit: int = 1) -> int | None:
    soft, _ = resource.getrlimit(which)
    return None if soft == resource.RLIM_INFINITY else soft // unit


def _ports() -> tuple[Port, ...]:
    listeners = _listeners()
    return tuple(
        Port(number, used_for, listeners.get(number)) for number, used_for in sorted(_wanted_ports().items())
    )


def _wanted_ports() -> dict[int, str]:
    nova, sophia, aurora = load(NovaSettings), load(SophiaSettings), load(AuroraSettings)
    return {
        **PORT_USERS,
        load(SpeechSettings).port: "Riva",
        load(FaceSettings).port: "Audio2Face",
        nova.http_port: "nova",
        nova.grpc_port: "nova gRPC",
        sophia.http_port: "sophia",
        aurora.http_port: "aurora",
        aurora.grpc_port: "aurora gRPC",
    }


def _listeners() -> dict[int, str]:
    """Port → the name of the process that listens there; "" where only root may know it."""
    found: dict[int, str] = {}
    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        return found
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN:
            continue
        try:
            name = psutil.Process(connection.pid).name() if connection.pid else ""
        except psutil.Error:
            name = ""
        port = int(connection.laddr[1])  # type: ignore[misc]  # psutil types it as possibly empty
        found[port] = found.get(port) or name
    return found
