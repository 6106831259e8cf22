"""The parsers take what nvidia-smi writes, and whatever else a broken one might."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voxloop.doctor.nvidia_smi import parse_csv, parse_topology, parse_xml

MATRIX = """\t\x1b[4mGPU0\tGPU1\tGPU2\tNIC0\tCPU Affinity\x1b[0m
GPU0\t X \tNV18\tSYS\tPIX\t0-47
GPU1\tNV18\t X \tNV18\tSYS\t0-47
GPU2\tSYS\tNV18\t X \tSYS\t48-95
NIC0\tPIX\tSYS\tSYS\t X \t

Legend:
"""


def test_each_pair_of_gpus_has_its_link_once() -> None:
    assert parse_topology(MATRIX) == {(0, 1): "NV18", (0, 2): "SYS", (1, 2): "NV18"}


def test_what_is_no_document_of_nvidia_smi_is_none() -> None:
    assert parse_xml("No devices were found") is None
    assert parse_xml("<html></html>") is None


def test_a_field_that_is_absent_is_not_known() -> None:
    driver = parse_xml("<nvidia_smi_log><gpu><product_name>X</product_name></gpu></nvidia_smi_log>")
    assert driver is not None
    assert driver.gpus[0].ecc is driver.gpus[0].uncorrectable is driver.gpus[0].headroom_c is None


@given(st.text())
def test_no_text_breaks_a_parser(text: str) -> None:
    parse_xml(text)
    parse_topology(text)


@given(st.text(alphabet=st.characters(exclude_characters="\r\n\0")))
def test_no_value_breaks_the_csv(value: str) -> None:
    quoted = '"' + value.replace('"', '""') + '"'
    gpu = parse_csv(
        f"name, temperature.gpu, memory.total [MiB]\n{quoted}, {quoted}, {quoted}\n", "13.1"
    ).gpus[0]
    assert gpu.temperature_c is None or str(gpu.temperature_c).lstrip("-").isdigit()
