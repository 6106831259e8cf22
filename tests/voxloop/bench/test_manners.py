"""The sound card, the sounds and the figures of bench manners, and the benchmark with little to do."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from shared.audio import RATE
from shared.errors import StartupError
from voxloop import bench
from voxloop.bench.manners import Plan, figures, parts, run
from voxloop.bench.manners_aloud import Asked
from voxloop.bench.manners_caller import BUFFERED_S, Card
from voxloop.bench.manners_kills import figures as kill_figures
from voxloop.bench.manners_sounds import clicks, cough


def test_the_card_plays_at_the_pace_of_time_holds_and_runs_dry() -> None:
    now = [0.0]
    card = Card(lambda: now[0])
    card.feed(RATE)
    now[0] = BUFFERED_S + 0.5
    assert card.played == pytest.approx(RATE / 2)
    card.hold()
    now[0] += 10
    assert card.played == pytest.approx(RATE / 2)
    card.go_on()
    now[0] += 0.25
    assert card.played == pytest.approx(RATE * 3 / 4)
    now[0] += 10
    assert card.played == RATE
    card.feed(RATE)  # it had run dry: time went by without sound
    assert card.played == RATE
    now[0] += BUFFERED_S + 0.5
    assert card.played == pytest.approx(RATE * 3 / 2)


def test_what_comes_while_the_card_is_held_waits() -> None:
    now = [0.0]
    card = Card(lambda: now[0])
    card.hold()
    card.feed(RATE)
    now[0] = 5.0
    assert card.played == 0
    card.go_on()
    now[0] += 0.5
    assert card.played == pytest.approx(RATE / 2)


@pytest.mark.parametrize("sound", [cough, clicks])
def test_sounds_are_loud_short_and_the_same_for_a_seed(sound: object) -> None:
    assert callable(sound)
    made = sound(random.Random(1))  # noqa: S311
    assert 0.1 <= np.abs(made).max() <= 0.6
    assert len(made) < RATE * 2
    assert np.array_equal(made, sound(random.Random(1)))  # noqa: S311


def test_a_share_counts_only_what_is_exact_and_a_false_interruption_has_its_kind() -> None:
    noise = {"part": "noise", "hushed": True, "words_lost": 0}
    rows = [
        noise | {"what": "mhm", "interrupted": True},
        noise | {"what": "cough", "interrupted": False, "words_lost": 2},
        {"part": "interruption", "exact": True},
        {"part": "interruption", "exact": False},
    ]
    measured = figures(rows)
    assert (measured["false_interruptions"], measured["false_interruptions_mhm"]) == (1, 1)
    assert measured["words_lost"] == 2
    assert measured["spoken_text_exact_share"] == 0.5
    assert measured["v2v_ms_p50"] is None


def test_the_way_of_a_clip_is_the_sum_of_its_parts_and_the_rest() -> None:
    stages = ("speech_end_to_final", "llm_first_token", "first_clause", "tts_first_audio", "first_audio_sent")
    row = {f"{stage}_ms": 10.0 for stage in stages} | {"v2v_ms": 60.0}
    assert parts([row])["v2v_rest_ms_p50"] == 10.0


def test_a_benchmark_without_a_short_form_says_so_before_anything_starts() -> None:
    with pytest.raises(StartupError, match="no short form"):
        next(bench.run(bench.Benchmark.NOVA, short=True))


def test_the_whole_product_is_measured() -> None:
    """Without noises, over which a reply of half a minute has to be heard."""
    plan = Plan(
        noises=0, interruptions=1, sessions=10, kills=1, talkers=1, messages=200, clip_rounds=0, at_once=1
    )
    report = run(plan)
    assert report.figures["interruptions"] == 1
    assert report.figures["spoken_text_exact_share"] == 1.0
    assert report.figures["unhandled"] == 0
    assert (report.figures["sessions_leak_tasks"] or 0) <= 0
    assert report.figures["kills"] == 1
    assert (report.figures["sessions_lost"], report.figures["turns_unanswered"]) == (0, 0)
    assert (report.figures["fuzzed_messages"] or 0) >= 200
    assert (report.figures["crashes"], report.figures["unanswered"]) == (0, 0)
    assert report.figures["bystander_failed"] == 0


def test_a_turn_that_failed_is_answered_only_where_its_client_was_told() -> None:
    whole, told, silent = Asked(1, ""), Asked(2, "the question was lost", told=True), Asked(3, "nothing came")
    measured = kill_figures(Counter(riva=2, nova=1), [whole, told, silent], [])
    assert (measured["kills"], measured["kills_riva"], measured["kills_turns"]) == (3, 2, 3)
    assert (measured["turns_told"], measured["turns_unanswered"]) == (1, 1)
