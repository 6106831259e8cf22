"""What the doctor says of real machines: each row a capture, and every check that is not simply good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.voxloop.doctor.conftest import Replay
from voxloop.doctor.checks import Result, Verdict, judge
from voxloop.doctor.facts import Machine
from voxloop.doctor.machine_checks import CHECKS
from voxloop.doctor.nvidia_smi import read_driver
from voxloop.doctor.settings import DoctorSettings

GOOD_HOST = {
    "pci_gpus": 0,
    "nvcc": "12.8",
    "cudnn": "9.8.0",
    "cudnn_source": "a header",
    "docker": "27.1",
    "docker_fault": "",
    "container_toolkit": "1.17",
    "gpu_runtime": True,
    "gpu_container_image": "registry.example/triton:1",
    "gpu_container_fault": "",
    "fabric_manager": None,
    "disk_free_gb": 900.0,
    "disk_path": "/models",
    "shm_mb": 4096.0,
    "memlock_kb": None,
    "nofile": 1 << 20,
    "ports": (),
}


async def verdicts(deadline_s: float = 30.0, settings: DoctorSettings | None = None) -> dict[str, Result]:
    """Of phase 1, on an otherwise good machine, without those that passed."""
    driver = await read_driver(deadline_s)
    machine = Machine(driver=driver, gpu_container_gpus=len(driver.gpus), **GOOD_HOST)  # type: ignore[arg-type]
    results = judge(1, CHECKS, machine, settings or DoctorSettings(), has_gpu=bool(driver.gpus))
    return {result.id: result for result in results if result.verdict is not Verdict.PASS}


@pytest.mark.parametrize(
    ("capture", "state", "edit", "expected"),
    [
        ("h100-80gb-hbm3", "idle", {}, {}),
        ("h100-80gb-hbm3", "load", {}, {}),
        ("h200", "idle", {}, {}),
        ("h200", "load", {}, {}),
        ("h100-mig", "idle", {}, {"mig": "info"}),
        (
            "telegraf-a100-sxm4-v12.xml",
            "",
            {},
            {"driver": "critical", "mig": "info", "persistence": "warning"},
        ),
        ("rtx-4000-sff-ada-v13.xml", "", {}, {"ecc": "warning"}),
        # What no captured machine had, written into what one said.
        (
            "rtx-4000-sff-ada-v13.xml",
            "",
            {"gpu_temp_tlimit>49": "gpu_temp_tlimit>3"},
            {"ecc": "warning", "thermal": "warning"},
        ),
        (
            "rtx-4000-sff-ada-v13.xml",
            "",
            {"gpu_temp_tlimit>49": "gpu_temp_tlimit>-3"},
            {"ecc": "warning", "thermal": "critical"},
        ),
        (
            "rtx-4000-sff-ada-v13.xml",
            "",
            {"hw_thermal_slowdown>Not Active": "hw_thermal_slowdown>Active"},
            {"ecc": "warning", "thermal": "critical"},
        ),
        (
            "telegraf-a100-sxm4-v12.xml",
            "",
            {"<sram_uncorrectable>0": "<sram_uncorrectable>2"},
            {
                "ecc": "critical",
                "driver": "critical",
                "mig": "info",
                "persistence": "warning",
            },
        ),
        (
            "rtx-4000-sff-ada-v13.xml",
            "",
            {"row_failure>No": "row_failure>Yes"},
            {"ecc": "warning", "remapped_rows": "critical"},
        ),
        (
            "rtx-4000-sff-ada-v13.xml",
            "",
            {"row_pending>No": "row_pending>Yes"},
            {"ecc": "warning", "remapped_rows": "warning"},
        ),
        ("rtx-4000-sff-ada-v13.xml", "", {"pending_ecc>Disabled": "pending_ecc>Enabled"}, {"ecc": "warning"}),
        (
            "rtx-4000-sff-ada-v13.xml",
            "",
            {"recovery_action>None": "recovery_action>Reset"},
            {"ecc": "warning", "recovery": "critical"},
        ),
        (
            "rtx-4000-sff-ada-v13.xml",
            "",
            {"gpu_temp>38 C": "gpu_temp>[GPU is lost]"},
            {"ecc": "warning", "recovery": "critical"},
        ),
        (
            "rtx-4000-sff-ada-v13.xml",
            "",
            {"cuda_version>13.2": "cuda_version>11.8"},
            {"ecc": "warning", "cuda": "critical", "nvcc": "warning"},
        ),
        ("h100-80gb-hbm3", "idle", {"Completed": "In Progress"}, {"fabric": "critical"}),
        (
            "h100-mig",
            "idle",
            {"HBM3, Enabled, Enabled, Enabled": "HBM3, Enabled, Enabled, Disabled"},
            {"mig": "warning"},
        ),
    ],
)
async def test_the_verdicts_on_a_machine(
    replay: Replay, capture: str, state: str, edit: dict[str, str], expected: dict[str, str]
) -> None:
    replay(capture, state, edit)
    found = await verdicts()
    assert {name: str(result.verdict) for name, result in found.items()} == expected
    assert all(result.why for result in found.values())
    assert all(result.do for result in found.values() if result.verdict is not Verdict.INFO)


async def test_a_newer_cuda_ceiling_beside_a_12_toolkit_is_good(replay: Replay) -> None:
    replay("h100-80gb-hbm3")
    driver = await read_driver(30.0)
    assert (driver.version, driver.cuda) == ("590.48.01", "13.1")
    assert [gpu.headroom_c for gpu in driver.gpus] == [46]


async def test_the_old_driver_is_named_with_what_to_do(replay: Replay) -> None:
    replay("telegraf-a100-sxm4-v12.xml")
    found = (await verdicts())["driver"]
    assert "535.54.03" in found.why
    assert "550" in found.do


async def test_a_missing_gpu_is_missed(replay: Replay) -> None:
    replay("h100-80gb-hbm3")
    found = await verdicts(settings=DoctorSettings(gpus=8))
    assert found["gpus"].verdict is Verdict.CRITICAL
    assert "1 GPUs, but 8" in found["gpus"].why


async def test_without_nvidia_smi_one_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = await verdicts()
    assert found["gpus"].verdict is Verdict.INFO
    assert "no NVIDIA GPU" in found["gpus"].why
    assert {result.verdict for name, result in found.items() if name != "gpus"} == {Verdict.SKIPPED}


async def test_a_gpu_without_a_driver_is_not_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(GOOD_HOST, "pci_gpus", 8)
    found = await verdicts()
    assert found["gpus"].verdict is Verdict.CRITICAL
    assert "not installed" in found["gpus"].why


async def test_nvidia_smi_that_fails_is_quoted(commands: Callable[[str, str], None]) -> None:
    commands("nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    found = await verdicts()
    assert found["gpus"].verdict is Verdict.CRITICAL
    assert "status 18" in found["gpus"].why
    assert "mismatch" in found["gpus"].why


async def test_nvidia_smi_that_hangs_holds_nobody(commands: Callable[[str, str], None]) -> None:
    commands("nvidia-smi", "exec sleep 600")
    found = await verdicts(deadline_s=0.2)
    assert found["gpus"].verdict is Verdict.CRITICAL
    assert "did not end within 0.2 s" in found["gpus"].why


async def test_nvidia_smi_that_lists_nothing(commands: Callable[[str, str], None]) -> None:
    commands("nvidia-smi", "echo '<nvidia_smi_log><driver_version>590.1</driver_version></nvidia_smi_log>'")
    found = await verdicts()
    assert found["gpus"].why == "nvidia-smi lists no GPU"
    assert found["gpus"].verdict is Verdict.CRITICAL
