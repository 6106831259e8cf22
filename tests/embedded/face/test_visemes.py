import numpy as np
import pytest

from embedded.face.blendshapes import CLOSE, FV, JAW, ROUND, SIBILANT, SPREAD, TONGUE, speak
from embedded.face.engine import FPS
from embedded.face.visemes import MIN_CLOSED_S, is_closed, movements, track
from embedded.speech.espeak import Espeak, PhoneMark
from embedded.speech.voices import VOICES
from shared.phones import Phone

TEXTS = {
    "en-US": "Thirty-four zoos measure a church, judge. Bottle, little button; fire, hour, there, poor idea.",
    "de-DE": "Guten Tag, schöne Bücher, Pfeffer, Katzen und Mäuse. Zwei Jungen lachen, Vögel, Hölle, Küche.",
}


@pytest.mark.parametrize("voice", VOICES, ids=lambda voice: voice.language)
def test_every_phone_of_the_voices_is_known(voice) -> None:
    marks = []
    Espeak().speak(TEXTS[voice.language], voice, lambda _, more: marks.extend(more) or True)
    labels = {mark.ipa for mark in marks if isinstance(mark, PhoneMark)}
    assert len(labels) > 20
    assert {label for label in labels if movements(label) is None} == set()


@pytest.mark.parametrize(
    ("ipa", "arpabet"),
    [("p", "P"), ("ˈaɪ", "AY1"), ("tʃ", "CH"), ("əl", "EL"), ("ŋ", "{@NG}"), ("ʌ", "{@AH0}"), ("", "SIL")],
)
def test_arpabet_names_the_same_phones(ipa: str, arpabet: str) -> None:
    np.testing.assert_array_equal(movements(ipa), movements(arpabet))


@pytest.mark.parametrize("label", ["QQ", "7", "M" * 100, "\N{SNOWMAN}"])
def test_what_is_no_phone_is_not_known(label: str) -> None:
    assert movements(label) is None
    moves, known = track([Phone(0, 0.1, label)], 0, 10)
    assert not known.any()
    assert not moves.any()


@pytest.mark.parametrize(
    ("label", "articulator"),
    [
        ("m", CLOSE), ("pf", CLOSE), ("f", FV), ("s", SIBILANT), ("uː", ROUND), ("iː", SPREAD), ("ɑː", JAW),
        ("θ", TONGUE),
    ],
)  # fmt: skip
def test_a_phone_moves_what_it_is_made_with(label: str, articulator: int) -> None:
    moves, known = track([Phone(0, 0.4, label)], 0, 40)
    assert known.all()
    assert moves[:, articulator].max() > 0.85


def test_closed_are_the_lips_of_m_b_and_p_alone() -> None:
    labels = ("m", "b", "p", "n", "f", "a", "", "w", "M", "B", "P", "m̩")
    assert [label for label in labels if is_closed(label)] == ["m", "b", "p", "M", "B", "P", "m̩"]


@pytest.mark.parametrize("start_ms", range(200, 234))
@pytest.mark.parametrize("length_ms", [20, 35, 50])
def test_a_short_closure_is_seen_on_a_frame_wherever_it_lies(start_ms: int, length_ms: int) -> None:
    start, end = start_ms / 1e3, (start_ms + length_ms) / 1e3
    moves, _ = track([Phone(0, start, "ɑ"), Phone(start, end, "b"), Phone(end, 0.6, "ɑ")], 0, 60)
    hops = (np.arange(60) + 0.5) / 100
    frames = np.arange(18) / FPS
    shut = np.interp(frames, hops, moves[:, CLOSE]) > 0.5
    assert shut.any()
    late = 0.01  # half of a hop on either side, and the share that lies between two
    assert (frames[shut] > end - max(MIN_CLOSED_S, end - start) - late).all()
    assert (frames[shut] < end + late).all()


def test_lips_round_before_a_vowel_through_what_says_nothing_of_them() -> None:
    """The t of "two", not the t of "tea"."""
    two, _ = track([Phone(0, 0.2, "t"), Phone(0.2, 0.4, "uː")], 0, 20)
    tea, _ = track([Phone(0, 0.2, "t"), Phone(0.2, 0.4, "iː")], 0, 20)
    assert two[15, ROUND] > 0.8
    assert tea[15, ROUND] < 0.1
    assert tea[15, SPREAD] > 0.6


def test_the_jaw_takes_time_to_fall() -> None:
    moves, _ = track([Phone(0, 0.2, ""), Phone(0.2, 0.5, "ɑː")], 0, 50)
    assert np.abs(np.diff(moves[:, JAW])).max() < 0.2
    assert moves[19, JAW] < moves[22, JAW] < moves[30, JAW]


def test_a_part_of_the_track_is_the_track_of_the_part() -> None:
    phones = [
        Phone(at / 10, (at + 1) / 10, label) for at, label in enumerate(["h", "aɪ", "t", "uː", "m", ""])
    ]
    whole, _ = track(phones, 0, 60)
    part, _ = track(phones, 20, 20)
    np.testing.assert_allclose(part, whole[20:40], atol=1e-6)


def test_nothing_is_known_beside_the_phones() -> None:
    moves, known = track([Phone(0.1, 0.2, "ɑ"), Phone(0.3, 0.4, "ɑ")], 0, 50)
    assert np.flatnonzero(known).tolist() == [*range(10, 20), *range(30, 40)]
    assert not moves[~known].any()
    assert track([], 0, 0)[0].shape == (0, 7)


def test_a_closed_mouth_shows_no_open_jaw() -> None:
    moves, _ = track([Phone(0, 0.1, "m")], 0, 10)
    assert speak(moves).max() <= 1
