"""The gate of a release: what is asked, and what counts."""

from __future__ import annotations

import random

from training.nova_mini.dialogue import conversation
from training.nova_mini.exams import COUNTS, Exam, exams, out_of_domain
from training.nova_mini.surface import spoken


def test_the_exams_are_the_same_each_time() -> None:
    assert exams() == exams()
    assert len(exams()) == sum(COUNTS.values()) + 250


def test_the_hand_written_questions_are_250_a_fifth_of_them_german() -> None:
    asked = out_of_domain()
    assert len(asked) == len({exam.prompt for exam in asked}) == 250
    assert sum(exam.task == "de" for exam in asked) == 50


def test_the_generator_says_none_of_the_hand_written_questions() -> None:
    by_hand = {spoken(exam.prompt.split("<|user|>")[1].split("<|end|>")[0]) for exam in out_of_domain()}
    rng = random.Random(1)
    made = {spoken(turn.user) for _ in range(4000) for turn in conversation(rng).turns}
    assert not by_hand & made


def test_an_answer_counts_when_all_of_it_is_right() -> None:
    exam = Exam("in_domain", "capitals", "", "The capital of France is Paris.")
    assert exam.passed("The capital of France is Paris.")
    assert not exam.passed("The capital of France is Paris, I think.")


def test_outside_of_the_domain_only_honesty_counts() -> None:
    exam = Exam("out_of_domain", "en", "", "")
    assert exam.passed("I do not know that. Ask me for a sum.")
    assert not exam.passed("The capital of Texas is Paris.")
