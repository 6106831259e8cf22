"""Conversations are made from a seed, and what the evaluation asks was never trained."""

from __future__ import annotations

import random
from functools import cache

import pytest

from training.nova_mini import english
from training.nova_mini.dialogue import Dialogue, Speaker, conversation, examination
from training.nova_mini.outside import is_honest, outside
from training.nova_mini.phrasing import Exchange
from training.nova_mini.surface import spoken


@cache
def trained() -> list[Dialogue]:
    rng = random.Random(1)
    return [conversation(rng) for _ in range(3000)]


def test_one_seed_one_conversation() -> None:
    assert conversation(random.Random(9)) == conversation(random.Random(9))


@pytest.mark.parametrize("kind", ["in_domain", "german"])
def test_the_question_of_an_exam_is_never_trained(kind: str) -> None:
    asked = {spoken(turn.user, turn.language) for made in trained() for turn in made.turns}
    rng = random.Random(2)
    for _ in range(300):
        last = examination(rng, kind).turns[-1]
        assert spoken(last.user, last.language) not in asked


def test_what_an_exam_recalls_was_told_in_it_and_never_in_training() -> None:
    told = {
        turn.answer for made in trained() for turn in made.turns if turn.task == "recall" and not turn.cut
    }
    rng = random.Random(3)
    exams = [examination(rng, "recall") for _ in range(300)]
    assert all(exam.turns[0].task == "telling" for exam in exams)
    assert not told & {exam.turns[-1].answer for exam in exams}


def test_a_cut_answer_is_the_beginning_of_what_was_meant() -> None:
    speaker = Speaker(random.Random(0), "en")
    whole = "The three services are Nova, Sophia and Aurora, and each has its own port."
    for _ in range(200):
        speaker.say(Exchange("smalltalk", "Name them.", whole), may_cut=True)
    cut = [turn.answer for turn in speaker.dialogue.turns if turn.cut]
    assert cut
    assert all(whole.startswith(answer) for answer in cut)


def test_going_on_says_the_rest_of_what_was_cut_off() -> None:
    speaker = Speaker(random.Random(0), "en")
    whole = " ".join(str(number) for number in range(40))
    while not speaker.rest:
        speaker.say(Exchange("counting", "Count.", whole), may_cut=True)
    assert speaker.go_on().answer == speaker.rest
    assert whole.endswith(speaker.rest)


def test_repeating_says_all_of_what_was_cut_off() -> None:
    speaker = Speaker(random.Random(0), "en")
    speaker.say(Exchange("capitals", "What is the capital of France?", "The capital of France is Paris."))
    assert speaker.repeat().answer == "The capital of France is Paris."


def test_some_conversations_have_a_system_message_and_most_have_none() -> None:
    share = sum(bool(made.system) for made in trained()) / len(trained())
    assert 0.15 < share < 0.3


def test_what_is_outside_gets_an_honest_answer() -> None:
    rng = random.Random(5)
    for language in ("en", "de"):
        for _ in range(200):
            made = outside(rng, language)
            assert is_honest(made.answer)
            assert "{" not in made.user


@pytest.mark.parametrize("task", list(english.TASKS))
def test_every_task_has_many_phrasings(task: english.Task) -> None:
    rng = random.Random(6)
    words = {" ".join(word for word in task(rng).user.lower().split() if word.isalpha()) for _ in range(600)}
    assert len(words) >= 8


def test_units_convert_both_ways() -> None:
    rng = random.Random(7)
    answers = {english.units(rng).answer for _ in range(20_000)}
    assert {"3 hours are 180 minutes.", "120 minutes are 2 hours.", "1 week is 7 days."} <= answers
