"""What nova-mini is asked when it is evaluated, and when an answer counts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from training.nova_mini.chat import ASSISTANT, said
from training.nova_mini.dialogue import examination
from training.nova_mini.outside import is_honest

OUT_OF_DOMAIN = Path(__file__).parent / "out_of_domain.txt"
COUNTS = {"in_domain": 1000, "german": 400, "recall": 400}
SEED = 2027


@dataclass(frozen=True)
class Exam:
    """`expected` is empty where only honesty is asked for."""

    kind: str
    task: str
    prompt: str
    expected: str

    def passed(self, answer: str) -> bool:
        return answer == self.expected if self.expected else is_honest(answer)


def exams(seed: int = SEED) -> list[Exam]:
    rng = random.Random(seed)
    made = []
    for kind, count in COUNTS.items():
        for _ in range(count):
            dialogue = examination(rng, kind)
            made.append(Exam(kind, dialogue.turns[-1].task, dialogue.prompt(), dialogue.turns[-1].answer))
    return made + out_of_domain()


def out_of_domain() -> list[Exam]:
    lines = [line for line in OUT_OF_DOMAIN.read_text("utf-8").splitlines() if not line.startswith("#")]
    questions = [line.partition("\t") for line in lines]
    return [
        Exam("out_of_domain", language, said("user", question) + ASSISTANT, "")
        for language, _, question in questions
    ]
