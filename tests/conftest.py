"""Fixtures that every test may use. A test file mirrors the module that it specifies."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.fixtures.face",
    "tests.fixtures.speech",
    "tests.fixtures.triton",
    "tests.fixtures.nova",  # after triton, on which it builds
    "tests.fixtures.stack",
    "tests.fixtures.hub",
    "tests.fixtures.brought",
]

# A slow machine is no failure.
settings.register_profile("voxloop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("voxloop")

ROOT = Path(__file__).resolve().parent.parent
MATERIAL = ROOT.parent / "shared"
"""Real clips and captures that may lie beside a checkout; they are not in the project."""


@pytest.fixture(scope="session")
def clips() -> Path:
    folder = MATERIAL / "clips"
    if not folder.is_dir():
        pytest.skip("no ../shared/clips beside this checkout")
    return folder
