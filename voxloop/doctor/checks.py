"""What a check is, and all of them: data, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from voxloop.doctor.settings import DoctorSettings


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105 - no password
    INFO = "info"
    """Nothing is wrong, and somebody may want to know it."""
    WARNING = "warning"
    """It works, and should not be left so."""
    CRITICAL = "critical"
    """It does not work, or will not for long."""
    UNKNOWN = "unknown"
    """It cannot be seen, and should be."""
    SKIPPED = "skipped"
    """It does not apply to this machine."""

    @property
    def bad(self) -> bool:
        return self in (Verdict.CRITICAL, Verdict.UNKNOWN)


@dataclass(frozen=True)
class Finding:
    verdict: Verdict
    why: str
    do: str = ""


F = TypeVar("F")
Rule = Callable[[F, DoctorSettings], Finding]


@dataclass(frozen=True)
class Check(Generic[F]):
    id: str
    title: str
    threshold: str
    """What is right, in words; {settings} are filled in."""
    rule: Rule[F]
    gpu: bool = False
    """Only where nvidia-smi shows a GPU."""


@dataclass(frozen=True)
class Result:
    id: str
    phase: int
    title: str
    threshold: str
    verdict: Verdict
    why: str
    do: str


NO_GPU = Finding(Verdict.SKIPPED, "no GPU to look at")


def judge(
    phase: int, checks: tuple[Check[F], ...], facts: F, settings: DoctorSettings, *, has_gpu: bool
) -> list[Result]:
    results = []
    for check in checks:
        finding = NO_GPU if check.gpu and not has_gpu else check.rule(facts, settings)
        threshold = check.threshold.format(settings=settings)
        results.append(
            Result(check.id, phase, check.title, threshold, finding.verdict, finding.why, finding.do)
        )
    return results


def ok(why: str) -> Finding:
    return Finding(Verdict.PASS, why)


def info(why: str, do: str = "") -> Finding:
    return Finding(Verdict.INFO, why, do)


def warning(why: str, do: str) -> Finding:
    return Finding(Verdict.WARNING, why, do)


def critical(why: str, do: str) -> Finding:
    return Finding(Verdict.CRITICAL, why, do)


def unknown(why: str, do: str) -> Finding:
    return Finding(Verdict.UNKNOWN, why, do)
