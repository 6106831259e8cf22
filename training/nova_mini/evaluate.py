"""Step 4: the GGUF answers what it was never trained on, through openvino-genai as the embedded Triton serves it.

Greedy and by free generation: an answer counts when all of its text is right. Runs in the environment of the
embedded Triton (`.venv-triton`), and needs neither torch nor tokenizers.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import openvino_genai

from training.nova_mini.chat import ASSISTANT, END, said
from training.nova_mini.dialogue import examination
from training.nova_mini.outside import is_honest

OUT_OF_DOMAIN = Path(__file__).parent / "out_of_domain.txt"
COUNTS = {"in_domain": 1000, "german": 400, "recall": 400}
SEED = 2027
AT_ONCE = 32
LONGEST = 512


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


class Served:
    """nova-mini in openvino-genai, as `models/nova` runs it."""

    def __init__(self, gguf: Path) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = 1
        scheduler.enable_prefix_caching = True
        self.pipeline = openvino_genai.ContinuousBatchingPipeline(str(gguf), scheduler, "CPU")
        self.tokenizer = self.pipeline.get_tokenizer()
        self.config = openvino_genai.GenerationConfig()
        self.config.do_sample = False
        self.config.max_new_tokens = LONGEST
        self.config.eos_token_id = self.tokenizer.get_eos_token_id()
        self.config.stop_token_ids = {self.config.eos_token_id}

    def answers(self, prompts: list[str]) -> list[str]:
        """In the order of the prompts, a few at once."""
        found: list[str] = []
        for start in range(0, len(prompts), AT_ONCE):
            handles = [
                self.pipeline.add_request(start + i, prompt, self.config)
                for i, prompt in enumerate(prompts[start : start + AT_ONCE])
            ]
            tokens: list[list[int]] = [[] for _ in handles]
            while self.pipeline.has_non_finished_requests():
                self.pipeline.step()
                for handle, said_so_far in zip(handles, tokens, strict=True):
                    while handle.can_read():
                        for output in handle.read().values():
                            said_so_far += output.generated_ids
            found += [self.tokenizer.decode(ids).replace(END, "") for ids in tokens]
        return found


def evaluate(gguf: Path, target: Path) -> None:
    asked = exams()
    answers = Served(gguf).answers([exam.prompt for exam in asked])
    passed = [exam.passed(answer) for exam, answer in zip(asked, answers, strict=True)]
    figures = {
        "exact_in_domain": share(asked, passed, "in_domain"),
        "recall_exact": share(asked, passed, "recall"),
        "german": share(asked, passed, "german"),
        "honest_out_of_domain": share(asked, passed, "out_of_domain"),
        "size_mb": round(gguf.stat().st_size / 1e6, 2),
    }
    tasks = {f"{kind}/{task}": right for (kind, task), right in sorted(by_task(asked, passed).items())}
    missed = [
        {"kind": exam.kind, "prompt": exam.prompt, "expected": exam.expected, "answered": answer}
        for exam, answer, right in zip(asked, answers, passed, strict=True)
        if not right
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    report = {"figures": figures, "tasks": tasks, "missed": missed}
    target.write_text(json.dumps(report, ensure_ascii=False, indent=1), "utf-8")
    print(json.dumps({"figures": figures, "tasks": tasks}, indent=1))


def share(asked: list[Exam], passed: list[bool], kind: str) -> float:
    of_kind = [right for exam, right in zip(asked, passed, strict=True) if exam.kind == kind]
    return round(sum(of_kind) / len(of_kind), 4)


def by_task(asked: list[Exam], passed: list[bool]) -> dict[tuple[str, str], str]:
    total = Counter((exam.kind, exam.task) for exam in asked)
    right = Counter((exam.kind, exam.task) for exam, ok in zip(asked, passed, strict=True) if ok)
    return {name: f"{right[name]}/{count}" for name, count in total.items()}
