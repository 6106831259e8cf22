"""Collect the facts, judge them, and leave out of the result whatever is secret."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from voxloop import peers
from voxloop.doctor import engine_checks, machine_checks, service_checks
from voxloop.doctor.checks import Result, Verdict, judge
from voxloop.doctor.engines import read_engines, wanted_images
from voxloop.doctor.facts import Facts
from voxloop.doctor.machine import read_machine
from voxloop.doctor.nvidia_smi import read_driver
from voxloop.doctor.services import read_services
from voxloop.doctor.settings import DoctorSettings

PHASES: Mapping[int, str] = {1: "the machine", 2: "the engines", 3: "the services"}
_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_MIN_SECRET = 6
"""Shorter values are switches and names, which would be cut out of innocent words."""


@dataclass(frozen=True)
class Diagnosis:
    results: tuple[Result, ...]

    @property
    def status(self) -> int:
        """The exit status: 0 nothing is critical, 1 something is, or could not be seen."""
        return int(any(result.verdict.bad for result in self.results))

    def count(self, *verdicts: Verdict) -> int:
        return sum(result.verdict in verdicts for result in self.results)

    def as_json(self) -> dict[str, Any]:
        checks = [vars(result) for result in self.results]
        counts = {verdict.value: self.count(verdict) for verdict in Verdict}
        return {"status": self.status, "counts": counts, "checks": checks}


async def diagnose(phases: Collection[int], settings: DoctorSettings) -> Diagnosis:
    """Raises SettingsError."""
    facts = await collect(phases, settings)
    return conceal(judged(facts, settings), secrets(os.environ))


async def collect(phases: Collection[int], settings: DoctorSettings) -> Facts:
    """One phase after the other, as a later one puts load on what an earlier one looks at."""
    driver = await read_driver(settings.command_s)
    where = peers.from_environment()
    images = wanted_images(settings.env_file)
    return Facts(
        driver,
        await read_machine(settings, driver, images) if 1 in phases else None,
        await read_engines(settings, driver, where) if 2 in phases else None,
        await read_services(where) if 3 in phases else None,
    )


def judged(facts: Facts, settings: DoctorSettings) -> Diagnosis:
    has_gpu = bool(facts.driver.gpus)
    results: list[Result] = []
    if facts.machine:
        results += judge(1, machine_checks.CHECKS, facts.machine, settings, has_gpu=has_gpu)
    if facts.engines:
        results += judge(2, engine_checks.CHECKS, facts.engines, settings, has_gpu=has_gpu)
    if facts.services:
        results += judge(3, service_checks.CHECKS, facts.services, settings, has_gpu=has_gpu)
    return Diagnosis(tuple(results))


def secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of variables that are named like secrets, each part of a list on its own; longest first."""
    values = [value for name, value in environment.items() if _SECRET_NAME.search(name)]
    parts = {part.strip() for value in values for part in (value, *value.split(","))}
    return tuple(sorted((part for part in parts if len(part) >= _MIN_SECRET), key=len, reverse=True))


def conceal(diagnosis: Diagnosis, known: tuple[str, ...]) -> Diagnosis:
    """No fact holds a secret; but what another program says of itself is quoted, and might."""

    def clean(text: str) -> str:
        for secret in known:
            text = text.replace(secret, "***")
        return text

    return Diagnosis(
        tuple(replace(each, why=clean(each.why), do=clean(each.do)) for each in diagnosis.results)
    )
