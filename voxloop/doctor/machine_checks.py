"""Phase 1: the machine, its driver and its GPUs."""

from __future__ import annotations

import re
from collections.abc import Callable

from voxloop.doctor.checks import Check, Finding, critical, info, ok, unknown, warning
from voxloop.doctor.facts import Gpu, Machine
from voxloop.doctor.settings import DoctorSettings as Settings

MIN_DRIVER, MIN_CUDA, CUDNN_MAJOR = 550, 12, 9
HOLDERS = re.compile(
    r"docker-proxy|tritonserver|riva\w*|python[\d.]*|voxloop|prometheus|grafana\w*|dcgm-exporter"
)
"""Processes that a port of ours may be held by: our own, the engines', and docker in their name."""


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else 0


def _which(gpus: list[Gpu]) -> str:
    return "GPU " + ", ".join(str(gpu.index) for gpu in gpus)


def gpus(machine: Machine, settings: Settings) -> Finding:
    driver, expected = machine.driver, settings.gpus
    if driver.gpus and expected not in (None, len(driver.gpus)):
        return critical(
            f"{len(driver.gpus)} GPUs, but {expected} are expected",
            "`sudo dmesg | grep -i xid` names a GPU that fell off the bus; reboot, then have it looked at.",
        )
    if driver.gpus:
        names = dict.fromkeys(gpu.name for gpu in driver.gpus)
        return ok(f"{len(driver.gpus)} × {', '.join(names)}")
    if driver.installed:
        return critical(
            driver.fault or "nvidia-smi lists no GPU",
            "Reboot; if it stays so, install the driver again (`sudo apt install --reinstall` its package) "
            "and read `sudo dmesg | grep -i nvrm`.",
        )
    if machine.pci_gpus or expected:
        there = (
            f"{machine.pci_gpus} NVIDIA GPUs are on the PCI bus"
            if machine.pci_gpus
            else f"{expected} GPUs are expected"
        )
        return critical(f"{there}, but nvidia-smi is not installed", f"Install a driver ≥ {MIN_DRIVER}.")
    return info("no NVIDIA GPU here: the embedded engines do the work")


def driver(machine: Machine, _: Settings) -> Finding:
    version = machine.driver.version
    if not _major(version):
        return unknown(f"nvidia-smi names no driver version ({version!r})", "Run `nvidia-smi` and read it.")
    if _major(version) < MIN_DRIVER:
        return critical(
            f"{version} is older than {MIN_DRIVER}",
            f"`sudo apt install nvidia-driver-{MIN_DRIVER}-server` or a newer one, then reboot.",
        )
    return ok(version)


def cuda_ceiling(machine: Machine, _: Settings) -> Finding:
    ceiling = machine.driver.cuda
    if not _major(ceiling):
        return unknown("nvidia-smi does not say up to which CUDA this driver goes", "Run `nvidia-smi -q`.")
    if _major(ceiling) < MIN_CUDA:
        return critical(f"this driver runs CUDA up to {ceiling}", f"Install a driver ≥ {MIN_DRIVER}.")
    return ok(f"this driver runs CUDA up to {ceiling}")


def cuda_toolkit(machine: Machine, _: Settings) -> Finding:
    if machine.nvcc is None:
        return info("no nvcc; the containers bring their own CUDA", "Only needed to build engines by hand.")
    if _major(machine.nvcc) < MIN_CUDA:
        return warning(f"nvcc is {machine.nvcc}", "Install a CUDA 12 toolkit, or remove the old one.")
    if _major(machine.driver.cuda) and _major(machine.nvcc) > _major(machine.driver.cuda):
        return warning(
            f"nvcc {machine.nvcc} is newer than the driver's CUDA {machine.driver.cuda}",
            "What it builds does not run here: install a newer driver or an older toolkit.",
        )
    return ok(machine.nvcc)


def cudnn(machine: Machine, _: Settings) -> Finding:
    if machine.cudnn is None:
        return info("neither its header nor its wheel is here; the containers bring their own")
    if _major(machine.cudnn) != CUDNN_MAJOR:
        return warning(
            f"{machine.cudnn} ({machine.cudnn_source})",
            f"Install cuDNN {CUDNN_MAJOR}: training outside of the containers wants it.",
        )
    return ok(f"{machine.cudnn} ({machine.cudnn_source})")


def _all(
    bad: Callable[[Gpu], bool], good: str, wrong: str, do: str, verdict: Callable[[str, str], Finding]
) -> Callable[[Machine, Settings], Finding]:
    """A rule that holds for every GPU, or names those for which it does not."""

    def rule(machine: Machine, _: Settings) -> Finding:
        found = [gpu for gpu in machine.driver.gpus if bad(gpu)]
        return verdict(f"{_which(found)}: {wrong}", do) if found else ok(good)

    return rule


def recovery(machine: Machine, _: Settings) -> Finding:
    lost = {gpu.index: gpu.distress for gpu in machine.driver.gpus if gpu.distress}
    wants = {gpu.index: gpu.recovery for gpu in machine.driver.gpus if gpu.recovery not in (None, "None")}
    if lost | wants:
        said = "; ".join(f"GPU {index}: {what}" for index, what in sorted({**wants, **lost}.items()))
        return critical(
            f"the driver asks for it: {said}",
            "Stop what runs on it, then `sudo nvidia-smi --gpu-reset -i INDEX`; reboot if that is refused.",
        )
    return ok("the driver asks for nothing")


def ecc(machine: Machine, _: Settings) -> Finding:
    gpus = machine.driver.gpus
    if errors := [gpu for gpu in gpus if gpu.uncorrectable]:
        counts = ", ".join(f"GPU {gpu.index}: {gpu.uncorrectable}" for gpu in errors)
        return critical(
            f"uncorrectable memory errors since the driver was loaded ({counts})",
            "Reset that GPU (`sudo nvidia-smi --gpu-reset -i INDEX`); if they come back, have it exchanged.",
        )
    if changed := [gpu for gpu in gpus if gpu.ecc != gpu.ecc_pending]:
        return warning(f"{_which(changed)}: ECC changes with the next reboot", "Reboot.")
    if off := [gpu for gpu in gpus if gpu.ecc == "Disabled"]:
        return warning(f"{_which(off)}: ECC is off", "`sudo nvidia-smi -e 1`, then reboot.")
    return ok("on, no uncorrectable error") if any(gpu.ecc for gpu in gpus) else info("these GPUs have none")


def remapped_rows(machine: Machine, _: Settings) -> Finding:
    if failed := [gpu for gpu in machine.driver.gpus if gpu.remap_failure]:
        return critical(f"{_which(failed)}: a row could not be remapped", "Have that GPU exchanged (RMA).")
    if pending := [gpu for gpu in machine.driver.gpus if gpu.remap_pending]:
        return warning(
            f"{_which(pending)}: a row waits to be remapped",
            "Reset that GPU when it is idle: `sudo nvidia-smi --gpu-reset -i INDEX`.",
        )
    return ok("none waits, none failed")


def mig(machine: Machine, _: Settings) -> Finding:
    gpus = machine.driver.gpus
    if changed := [gpu for gpu in gpus if gpu.mig != gpu.mig_pending]:
        return warning(f"{_which(changed)}: MIG changes with the next reset", "Reset those GPUs, or reboot.")
    sliced = [gpu for gpu in gpus if gpu.mig_on]
    if 0 < len(sliced) < len(gpus):
        return warning(
            f"MIG is on for {_which(sliced)} alone", "Set it alike on all, or name the devices in compose."
        )
    if sliced:
        return info(
            "on: an instance is what a container gets",
            "Name MIG devices (`nvidia-smi -L`) where compose reserves GPUs; one must hold the model.",
        )
    return ok("off")


def fabric(machine: Machine, _: Settings) -> Finding:
    """Only GPUs behind an NVSwitch have a fabric; N/A elsewhere, as on a single H100 of a virtual machine."""
    bad = [gpu for gpu in machine.driver.gpus if gpu.fabric not in (None, "Completed")]
    failed = [gpu for gpu in machine.driver.gpus if gpu.fabric_status not in (None, "Success")]
    if bad or failed:
        states = ", ".join(f"GPU {gpu.index}: {gpu.fabric}/{gpu.fabric_status}" for gpu in bad or failed)
        return critical(
            f"the NVLink fabric is not up ({states}); CUDA will fail with error 802",
            "`sudo systemctl restart nvidia-fabricmanager`; its version must be the driver's.",
        )
    if machine.fabric_manager == "failed":
        return critical("nvidia-fabricmanager has failed", "`journalctl -u nvidia-fabricmanager`")
    return ok("up" if any(gpu.fabric for gpu in machine.driver.gpus) else "these GPUs are in none")


def topology(machine: Machine, _: Settings) -> Finding:
    links = machine.driver.links
    if len(machine.driver.gpus) < 2:
        return ok("a single GPU")
    if not links:
        return unknown("`nvidia-smi topo -m` shows no links", "Run it and read it.")
    kinds = dict.fromkeys(sorted(links.values()))
    shown = ", ".join(kinds)
    if all(kind.startswith("NV") for kind in kinds):
        return ok(f"NVLink between all ({shown})")
    if any(kind.startswith("NV") for kind in kinds):
        slow = [f"{a}–{b}" for (a, b), kind in links.items() if not kind.startswith("NV")]
        return warning(
            f"no NVLink between {', '.join(slow)} ({shown})", "Keep a model that spans GPUs off those pairs."
        )
    return info(f"no NVLink ({shown})", "A model that spans GPUs is slower here; keep one model on one GPU.")


def thermal(machine: Machine, settings: Settings) -> Finding:
    def left(gpu: Gpu) -> int | None:
        if gpu.headroom_c is not None:
            return gpu.headroom_c
        return None if gpu.temperature_c is None else settings.max_temperature_c - gpu.temperature_c

    gpus = machine.driver.gpus
    shown = ", ".join(f"GPU {gpu.index}: {gpu.temperature_c} °C, {left(gpu)} °C left" for gpu in gpus)
    if any(gpu.thermal_slowdown or (left(gpu) or 1) <= 0 for gpu in gpus):
        return critical(
            f"a GPU slows down for heat ({shown})", "Check fans, inlet temperature and blanking panels."
        )
    if any((rest := left(gpu)) is not None and rest <= settings.headroom_c for gpu in gpus):
        return warning(
            f"a GPU is close to slowing down for heat ({shown})", "Check fans and inlet temperature."
        )
    if any(left(gpu) is None for gpu in gpus):
        return unknown("a GPU tells no temperature", "Run `nvidia-smi -q -d TEMPERATURE`.")
    return ok(shown)


def docker(machine: Machine, _: Settings) -> Finding:
    if machine.docker is None:
        needed = critical if machine.driver.gpus else info
        return needed(
            machine.docker_fault,
            "Install docker, and put yourself into the group `docker` (then log in anew).",
        )
    return ok(machine.docker)


def container_toolkit(machine: Machine, _: Settings) -> Finding:
    if machine.gpu_runtime is None:
        return unknown("docker cannot be asked", "Mend docker first.")
    if not machine.gpu_runtime:
        version = f"nvidia-ctk {machine.container_toolkit} is here, but " if machine.container_toolkit else ""
        return critical(
            f"{version}docker knows no NVIDIA runtime, and there is no CDI specification",
            "Install nvidia-container-toolkit, then `sudo nvidia-ctk runtime configure --runtime=docker` "
            "and `sudo systemctl restart docker`.",
        )
    return ok(f"nvidia-ctk {machine.container_toolkit or 'of an unknown version'}, known to docker")


def gpu_container(machine: Machine, _: Settings) -> Finding:
    if machine.gpu_container_image is None:
        return info("not tried: none of the images is here yet", "`sh deploy/ngc/download.sh` gets them.")
    if machine.gpu_container_fault:
        return critical(
            machine.gpu_container_fault,
            "`sudo nvidia-ctk runtime configure --runtime=docker`, then `sudo systemctl restart docker`.",
        )
    if machine.gpu_container_gpus != len(machine.driver.gpus):
        return critical(
            f"a container sees {machine.gpu_container_gpus} GPUs of {len(machine.driver.gpus)}",
            "Look for NVIDIA_VISIBLE_DEVICES in /etc/nvidia-container-runtime/config.toml.",
        )
    return ok(f"a container sees all {machine.gpu_container_gpus}")


def disk(machine: Machine, settings: Settings) -> Finding:
    free = f"{machine.disk_free_gb:.0f} GB free at {machine.disk_path}"
    if machine.disk_free_gb >= settings.free_gb:
        return ok(free)
    if not machine.driver.gpus:  # without one, nothing large is ever downloaded
        return info(free)
    return warning(free, "Make room, or move docker's data-root and VOXLOOP_STATE to a larger disk.")


def shm(machine: Machine, settings: Settings) -> Finding:
    if machine.shm_mb is None:
        return unknown("there is no /dev/shm", "Mount a tmpfs there.")
    if machine.shm_mb < settings.shm_mb:
        return warning(f"{machine.shm_mb:.0f} MB", "`sudo mount -o remount,size=2G /dev/shm`")
    return ok(f"{machine.shm_mb:.0f} MB")


def limits(machine: Machine, settings: Settings) -> Finding:
    memlock = "unlimited" if machine.memlock_kb is None else f"{machine.memlock_kb} kB"
    shown = f"nofile {machine.nofile}, memlock {memlock}"
    if machine.nofile < settings.nofile:
        return info(
            shown, f"For many sessions, raise nofile to {settings.nofile} in /etc/security/limits.conf."
        )
    return ok(shown)


def ports(machine: Machine, _: Settings) -> Finding:
    held = {port.number: port for port in machine.ports if port.holder is not None}
    foreign = [port for port in held.values() if port.holder and not HOLDERS.fullmatch(port.holder)]
    if foreign:
        who = ", ".join(f"{port.number} ({port.used_for}) by {port.holder}" for port in foreign)
        return warning(f"held by others: {who}", "End those, or give our part another port in .env.")
    if held:
        return ok(f"in use by ours: {', '.join(map(str, held))}; all others are free")
    return ok(f"{', '.join(str(port.number) for port in machine.ports)} are free")


CHECKS: tuple[Check[Machine], ...] = (
    Check("gpus", "GPUs", "as many as expected", gpus),
    Check("driver", "driver", f"≥ {MIN_DRIVER}", driver, gpu=True),
    Check("cuda", "driver's CUDA", f"≥ {MIN_CUDA}.0", cuda_ceiling, gpu=True),
    Check("nvcc", "CUDA toolkit", f"{MIN_CUDA}.x, or newer if the driver runs it", cuda_toolkit, gpu=True),
    Check("cudnn", "cuDNN", f"{CUDNN_MAJOR}.x", cudnn, gpu=True),
    Check("recovery", "recovery", "no reset is asked for", recovery, gpu=True),
    Check("ecc", "ECC", "on, 0 uncorrectable errors", ecc, gpu=True),
    Check("remapped_rows", "row remapping", "none waits, none failed", remapped_rows, gpu=True),
    Check("mig", "MIG", "current = pending, alike on all", mig, gpu=True),
    Check("fabric", "NVLink fabric", "Completed, where there is one", fabric, gpu=True),
    Check("topology", "topology", "NVLink between all GPUs", topology, gpu=True),
    Check(
        "persistence",
        "persistence",
        "on",
        _all(
            lambda gpu: gpu.persistence == "Disabled",
            "on",
            "off, so the first request after a pause waits for the driver",
            "`sudo nvidia-smi -pm 1`, or enable nvidia-persistenced.",
            warning,
        ),
        gpu=True,
    ),
    Check("thermal", "temperature", "> {settings.headroom_c} °C below slowing down", thermal, gpu=True),
    Check("docker", "docker", "answers", docker),
    Check("container_toolkit", "container toolkit", "known to docker", container_toolkit, gpu=True),
    Check("gpu_container", "GPU in a container", "sees every GPU", gpu_container, gpu=True),
    Check("disk", "disk", "≥ {settings.free_gb:.0f} GB free", disk),
    Check("shm", "shared memory", "≥ {settings.shm_mb:.0f} MB", shm),
    Check("limits", "limits", "nofile ≥ {settings.nofile}", limits),
    Check("ports", "ports", "free, or held by ours", ports),
)
