"""Step 4: the GGUF answers what it was never trained on, in openvino-genai as it is served.

Greedy and by free generation: an answer counts when all of its text is right. Runs in the environment of the
embedded Triton (`.venv-triton`), and needs neither torch nor tokenizers.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import openvino_genai

from training.nova_mini.chat import END
from training.nova_mini.exams import Exam, exams

AT_ONCE = 32
LONGEST = 640
"""Tokens of an answer: as many as counting to a hundred takes."""


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
                for handle, so_far in zip(handles, tokens, strict=True):
                    while handle.can_read():
                        for output in handle.read().values():
                            so_far.extend(output.generated_ids)
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
