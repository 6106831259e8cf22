"""Step 4: the GGUF answers what it was never trained on, in openvino-genai as it is served, or through nova.

Greedy and by free generation: an answer counts when all of its text is right. Runs in the environment of the
embedded Triton (`.venv-triton`), and needs neither torch nor tokenizers; through nova in the main one.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Protocol

from training.nova_mini.chat import END
from training.nova_mini.exams import Exam, exams

AT_ONCE = 32
LONGEST = 640
"""Tokens of an answer: as many as counting to a hundred takes."""


class Answers(Protocol):
    def answers(self, prompts: list[str]) -> list[str]:
        """In the order of the prompts."""


class Served:
    """nova-mini in openvino-genai, as `models/nova` runs it."""

    def __init__(self, gguf: Path) -> None:
        import openvino_genai  # noqa: PLC0415 - in .venv-triton alone

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


class ThroughNova:
    """nova-mini behind a running nova: its whole road, and greedy as well."""

    def __init__(self, url: str) -> None:
        self.url = url

    def answers(self, prompts: list[str]) -> list[str]:
        import httpx  # noqa: PLC0415 - in the main environment alone

        found: list[str] = []
        with httpx.Client(base_url=self.url, timeout=300.0, trust_env=False) as client:
            for start in range(0, len(prompts), AT_ONCE):
                some = prompts[start : start + AT_ONCE]
                body = {"prompt": some, "raw": True, "max_tokens": LONGEST, "temperature": 0.0}
                outputs = client.post("/nova/generate", json=body).raise_for_status().json()["outputs"]
                found += [output["text"] for output in outputs]
        return found


def evaluate(gguf: Path, target: Path, model: Answers, every: int = 1) -> None:
    """`every`: only one in so many questions is asked."""
    asked = exams()[::every]
    answers = model.answers([exam.prompt for exam in asked])
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
