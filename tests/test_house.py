"""The house rules that a machine can hold: who may import whom, that every module says what it is, and
that stubs and tests keep up with what they mirror."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("shared", "embedded", "services", "voxloop")
ALLOWED = {
    "shared": {"shared"},
    "embedded": {"shared", "embedded"},
    "services": {"shared", "services"},
    "voxloop": {"shared", "embedded", "services", "voxloop"},
}
NOT_INSTALLED = {"tests", "training", "samples", "deploy", "proto", "omniverse"}
"""Rooms that the wheel leaves behind."""


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def modules(room: str) -> list[Path]:
    found = [path for path in (ROOT / room).rglob("*.py") if "wire" not in path.parts]
    assert found, f"{room} is empty"
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    for path in modules(room):
        foreign = {name.split(".")[0] for name in imported(path)} & {*ROOMS, *NOT_INSTALLED} - ALLOWED[room]
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_module_says_what_it_is(room: str) -> None:
    silent = [path for path in modules(room) if path.stat().st_size and not docstring(path)]
    assert not silent, [str(path.relative_to(ROOT)) for path in silent]


def docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text()))


def test_every_module_of_shared_has_its_tests() -> None:
    names = {path.stem for path in modules("shared")} - {"__init__"}
    assert not [name for name in names if not (ROOT / "tests" / "shared" / f"test_{name}.py").exists()]


@pytest.mark.parametrize("service", ["nova", "sophia", "aurora"])
def test_services_never_import_each_other(service: str) -> None:
    for path in (ROOT / "services" / service).rglob("*.py"):
        others = {name for name in imported(path) if name.startswith("services.")}
        others = {name for name in others if name.split(".")[1] != service}
        assert not others, f"{path.relative_to(ROOT)} imports {others}"


def test_no_service_asks_whether_its_engines_are_embedded() -> None:
    for path in (ROOT / "services").rglob("*.py"):
        assert "embedded" not in path.read_text().lower(), (
            f"{path.relative_to(ROOT)} knows about embedded engines"
        )


def test_the_generated_stubs_are_fresh() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "proto" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.stale() == [], "run `make wire`"
