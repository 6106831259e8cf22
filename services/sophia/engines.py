"""What every session of this process talks to."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.sophia.answers import Answers
from services.sophia.detection import Detector
from services.sophia.end_of_turn import EndOfTurn
from services.sophia.face import Face
from services.sophia.riva import Riva
from services.sophia.tools import Toolbox


@dataclass(frozen=True)
class Engines:
    """The peers, the detector of voices, and the plug-in where there is one."""

    riva: Riva
    answers: Answers
    face: Face
    toolbox: Toolbox
    end_of_turn: EndOfTurn | None = None
    """Where the deployment has a say in whether a final ends a turn."""
    detector: Detector = field(default_factory=Detector)
