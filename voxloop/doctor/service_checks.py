"""Phase 3: our own services, and the loop from end to end."""

from __future__ import annotations

from collections.abc import Callable

from voxloop.doctor.checks import Check, Finding, critical, ok, warning
from voxloop.doctor.facts import Answer, Services
from voxloop.doctor.settings import DoctorSettings as Settings

START = "Start it: `voxloop up`, or `docker compose up -d`; `docker compose logs NAME` says why it does not."


def _ready(pick: Callable[[Services], Answer]) -> Callable[[Services, Settings], Finding]:
    def rule(services: Services, _: Settings) -> Finding:
        answer = pick(services)
        if answer.fault:
            return critical(answer.fault, answer.hint or START)
        if answer.detail.startswith("degraded"):
            return warning(f"{answer.where} is {answer.detail}", "The voice works; mend what is named.")
        return ok(f"ready at {answer.where}")

    return rule


def turn(services: Services, _: Settings) -> Finding:
    answer = services.turn
    if answer.fault:
        heard = f" ({answer.detail})" if answer.detail else ""
        return critical(answer.fault + heard, answer.hint or "Mend what is named above first.")
    return ok(answer.detail)


CHECKS: tuple[Check[Services], ...] = (
    Check("nova", "nova", "ready", _ready(lambda s: s.nova)),
    Check("sophia", "sophia", "ready", _ready(lambda s: s.sophia)),
    Check("aurora", "aurora", "ready", _ready(lambda s: s.aurora)),
    Check("turn", "a spoken question", "heard, answered, spoken, animated", turn),
)
