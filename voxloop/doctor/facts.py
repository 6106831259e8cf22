"""What was found, as plain values. None: not asked, or the machine does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Gpu:
    index: int
    name: str
    persistence: str | None = None
    mig: str | None = None
    mig_pending: str | None = None
    ecc: str | None = None
    ecc_pending: str | None = None
    uncorrectable: int | None = None
    """Uncorrectable ECC errors since the driver was loaded."""
    remap_pending: bool | None = None
    remap_failure: bool | None = None
    recovery: str | None = None
    """What the driver itself wants done: None, Reset, Reboot, Drain P2P, …; "reset" from older drivers."""
    fabric: str | None = None
    fabric_status: str | None = None
    temperature_c: int | None = None
    headroom_c: int | None = None
    """Degrees below the temperature at which it slows down; 0 or less is too hot."""
    thermal_slowdown: bool | None = None
    memory_mib: int | None = None
    distress: str | None = None
    """What the driver says in place of a value of a GPU that is gone: "GPU is lost", …"""

    @property
    def mig_on(self) -> bool:
        return self.mig == "Enabled"


@dataclass(frozen=True)
class Driver:
    """What nvidia-smi says. `fault` is empty where it said anything."""

    version: str = ""
    cuda: str = ""
    """The newest CUDA that this driver runs: a ceiling, not what is installed."""
    gpus: tuple[Gpu, ...] = ()
    fault: str = ""
    installed: bool = True
    links: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """How two GPUs are connected (`nvidia-smi topo -m`): NV18, PIX, SYS, …"""


@dataclass(frozen=True)
class Port:
    number: int
    used_for: str
    holder: str | None
    """The process that listens there; "" where the system does not tell its name."""


@dataclass(frozen=True)
class Machine:
    driver: Driver
    pci_gpus: int
    """NVIDIA's display and 3D controllers on the PCI bus, driver or not."""
    nvcc: str | None
    cudnn: str | None
    cudnn_source: str
    docker: str | None
    docker_fault: str
    container_toolkit: str | None
    gpu_runtime: bool | None
    """Docker knows the runtime `nvidia`, or a CDI specification describes the GPUs."""
    gpu_container_image: str | None
    """With which image `docker run --gpus all … nvidia-smi -L` was tried; None: none is here."""
    gpu_container_fault: str
    gpu_container_gpus: int
    fabric_manager: str | None
    """Its state as systemd has it; None where there is no systemd or no such service."""
    disk_free_gb: float
    disk_path: str
    shm_mb: float | None
    memlock_kb: int | None
    """None: unlimited."""
    nofile: int
    ports: tuple[Port, ...]


@dataclass(frozen=True)
class RivaConfig:
    """What Riva's quickstart would run with. Paths and switches only; its keys are not read."""

    path: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """How one server answered a real request. `fault` is empty where it did its work."""

    where: str
    fault: str = ""
    hint: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Engines:
    key_source: str | None
    """Where an NGC key was found; the key itself stays there."""
    registry_login: bool
    images: Mapping[str, bool]
    """Image reference → is it here. Empty: none is named, or docker cannot be asked."""
    images_fault: str
    riva_config: RivaConfig | None
    nemo: str | None
    triton: Answer
    riva: Answer
    audio2face: Answer
    dcgm: Answer


@dataclass(frozen=True)
class Services:
    nova: Answer
    sophia: Answer
    aurora: Answer
    turn: Answer


@dataclass(frozen=True)
class Facts:
    """A phase that was not asked for is None. The driver is always asked: other phases depend on it."""

    driver: Driver
    machine: Machine | None = None
    engines: Engines | None = None
    services: Services | None = None
