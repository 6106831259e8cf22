"""nvidia-smi by its machine-readable forms: `-q -x`, and `--query-gpu` where that gives no XML.

XML is asked first: one call, and an unknown field is simply absent. Some drivers write the names of
processes into it unescaped, and wrappers in containers may not pass `-q -x` on: then the CSV. One unknown
field fails its whole query, so `--help-query-gpu` is read first. Each fact has its name in both forms, in one
table.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from xml.etree import ElementTree

from voxloop.doctor.command import Ran, run
from voxloop.doctor.facts import Driver, Gpu

UNCORRECTABLE = (
    "sram_uncorrectable",  # until driver 550
    "sram_uncorrectable_parity",
    "sram_uncorrectable_secded",
    "dram_uncorrectable",
)

# fact → where it is in the XML (`+`: their sum), its name in the CSV
FIELDS: Mapping[str, tuple[str, str]] = {
    "name": ("product_name", "name"),
    "persistence": ("persistence_mode", "persistence_mode"),
    "mig": ("mig_mode/current_mig", "mig.mode.current"),
    "mig_pending": ("mig_mode/pending_mig", "mig.mode.pending"),
    "ecc": ("ecc_mode/current_ecc", "ecc.mode.current"),
    "ecc_pending": ("ecc_mode/pending_ecc", "ecc.mode.pending"),
    "uncorrectable": (
        "+".join(f"ecc_errors/volatile/{kind}" for kind in UNCORRECTABLE),
        "ecc.errors.uncorrected.volatile.total",
    ),
    "remap_pending": ("remapped_rows/remapped_row_pending", "remapped_rows.pending"),
    "remap_failure": ("remapped_rows/remapped_row_failure", "remapped_rows.failure"),
    "recovery": ("gpu_recovery_action", "gpu_recovery_action"),
    "reset_required": ("gpu_reset_status/reset_required", "reset_status.reset_required"),
    "fabric": ("fabric/state", "fabric.state"),
    "fabric_status": ("fabric/status", "fabric.status"),
    "temperature_c": ("temperature/gpu_temp", "temperature.gpu"),
    "headroom_c": ("temperature/gpu_temp_tlimit", "temperature.gpu.tlimit"),
    "slowdown_at_c": ("temperature/gpu_temp_slow_threshold", ""),
    "hw_slowdown": (
        "clocks_event_reasons/clocks_event_reason_hw_thermal_slowdown",
        "clocks_event_reasons.hw_thermal_slowdown",
    ),
    "sw_slowdown": (
        "clocks_event_reasons/clocks_event_reason_sw_thermal_slowdown",
        "clocks_event_reasons.sw_thermal_slowdown",
    ),
    "memory_mib": ("fb_memory_usage/total", "memory.total"),
}
_NOTHING = re.compile(
    r"\[?(n/?a|not supported|requested functionality has been deprecated)?\]?", re.IGNORECASE
)
_DISTRESS = re.compile(r"\[?(gpu is lost|gpu requires reset|unknown error|err!)\]?", re.IGNORECASE)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


async def read_driver(deadline_s: float) -> Driver:
    """Ask nvidia-smi once; a Driver whose `fault` says why there is nothing where it gave nothing."""
    answer = await run("nvidia-smi", "-q", "-x", deadline_s=deadline_s)
    driver = parse_xml(answer.out) if answer.ok else None
    if driver is None:
        driver = await _by_csv(answer, deadline_s)
    if driver.fault or len(driver.gpus) < 2:
        return driver
    topology = await run("nvidia-smi", "topo", "-m", deadline_s=deadline_s)
    return Driver(driver.version, driver.cuda, driver.gpus, links=parse_topology(topology.out))


async def _by_csv(first: Ran, deadline_s: float) -> Driver:
    if first.missing or first.hung:  # it would hang again
        return Driver(fault=first.fault, installed=not first.missing)
    known = await run("nvidia-smi", "--help-query-gpu", deadline_s=deadline_s)
    fields = [name for _, name in FIELDS.values() if f'"{name}"' in known.out]
    if not fields:
        return Driver(fault=first.fault or "nvidia-smi answers neither in XML nor to a query")
    fields += ["driver_version"]
    rows = await run("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv", deadline_s=deadline_s)
    if not rows.ok:
        return Driver(fault=rows.fault)
    version = await run("nvidia-smi", "--version", deadline_s=deadline_s)
    cuda = re.search(r"^CUDA\b[^:]*Version\s*:\s*([\d.]+)", version.out, re.MULTILINE)
    return parse_csv(rows.out, cuda[1] if cuda else "")


def parse_xml(text: str) -> Driver | None:
    """None for what is no nvidia-smi document."""
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - this machine's driver wrote it
    except ElementTree.ParseError:
        return None
    if root.tag != "nvidia_smi_log":
        return None
    gpus = tuple(_gpu(index, _xml_reader(gpu)) for index, gpu in enumerate(root.iter("gpu")))
    return Driver(root.findtext("driver_version", ""), root.findtext("cuda_version", ""), gpus)


def parse_csv(text: str, cuda: str) -> Driver:
    """The answer to a --query-gpu with a header; units in the header ("memory.total [MiB]") are left out."""
    table = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    rows = [{str(name).split(" [")[0]: str(value) for name, value in row.items()} for row in table]
    if not rows:
        return Driver(fault="nvidia-smi lists no GPU", cuda=cuda)

    def reader(row: Mapping[str, str]) -> Callable[[str], Iterable[str]]:
        return lambda fact: (row.get(FIELDS[fact][1], ""),)

    gpus = tuple(_gpu(index, reader(row)) for index, row in enumerate(rows))
    return Driver(rows[0].get("driver_version", ""), cuda, gpus)


def _xml_reader(gpu: ElementTree.Element) -> Callable[[str], Iterable[str]]:
    return lambda fact: (gpu.findtext(path, "").strip() for path in FIELDS[fact][0].split("+"))


def _gpu(index: int, read: Callable[[str], Iterable[str]]) -> Gpu:
    values = {fact: list(read(fact)) for fact in FIELDS}
    lost = [found[1] for texts in values.values() for text in texts if (found := _DISTRESS.fullmatch(text))]

    def text(fact: str) -> str | None:
        value = values[fact][0]
        return None if _NOTHING.fullmatch(value) or _DISTRESS.fullmatch(value) else value

    def number(fact: str) -> int | None:
        found = [int(match[0]) for value in values[fact] if (match := re.match(r"-?\d+", value))]
        return sum(found) if found else None

    def flag(fact: str) -> bool | None:
        value = text(fact)
        return None if value is None else value in ("Yes", "Active", "Enabled")

    temperature, headroom, slow = number("temperature_c"), number("headroom_c"), number("slowdown_at_c")
    if headroom is None and None not in (temperature, slow):
        headroom = (slow or 0) - (temperature or 0)  # older drivers name the temperature itself
    slowdowns = [flag("hw_slowdown"), flag("sw_slowdown")]
    return Gpu(
        index,
        text("name") or "unknown GPU",
        persistence=text("persistence"),
        mig=text("mig"),
        mig_pending=text("mig_pending"),
        ecc=text("ecc"),
        ecc_pending=text("ecc_pending"),
        uncorrectable=number("uncorrectable"),
        remap_pending=flag("remap_pending"),
        remap_failure=flag("remap_failure"),
        recovery=text("recovery") or ("reset" if flag("reset_required") else None),
        fabric=text("fabric"),
        fabric_status=text("fabric_status"),
        temperature_c=temperature,
        headroom_c=headroom,
        thermal_slowdown=None if slowdowns == [None, None] else any(slowdowns),
        memory_mib=number("memory_mib"),
        distress=lost[0] if lost else None,
    )


def parse_topology(text: str) -> dict[tuple[int, int], str]:
    """The links between pairs of GPUs, each pair once, from the matrix of `nvidia-smi topo -m`."""
    links: dict[tuple[int, int], str] = {}
    columns: list[str] = []
    for line in _ANSI.sub("", text).splitlines():
        cells = [cell.strip() for cell in line.split("\t")]
        if not columns:
            columns = cells[1:] if len(cells) > 1 and cells[1].startswith("GPU") else []
            continue
        row = re.fullmatch(r"GPU(\d+)", cells[0])
        if row is None:
            continue
        for column, link in zip(columns, cells[1:], strict=False):
            other = re.fullmatch(r"GPU(\d+)", column)
            if other and int(row[1]) < int(other[1]):
                links[int(row[1]), int(other[1])] = link
    return links
