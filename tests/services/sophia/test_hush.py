"""What speech over a reply is, in whatever order it is heard. test_interruption.py has it over the wire."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.sophia.backchannel import is_backchannel
from services.sophia.hearing import Heard
from services.sophia.hush import Hush, Outcome
from services.sophia.settings import SophiaSettings
from tests.fixtures.spoken import said

SETTINGS = SophiaSettings()
LONGEST_S = 2 * (SETTINGS.interrupt_after_ms + SETTINGS.resume_after_ms) / 1e3

Lengths = st.floats(0, 3000)
"""Of speech, in ms."""
Shares = st.floats(0, 1)
Texts = st.lists(st.sampled_from(["mhm", "Uh-huh!", "stop", "Stop.", "it", "no"]), min_size=1).map(" ".join)
Words = Texts.filter(lambda text: not is_backchannel(text, "en-US"))


def heard(text: str, confidence: float, *, is_final: bool) -> Heard:
    return Heard(text, is_final, confidence, ())


class Speaking(RuleBasedStateMachine):
    """A user over one reply after another, and a caller that does what a session does."""

    @initialize(settings=st.builds(SophiaSettings, word_ms=st.sampled_from([0, 250])))
    def start(self, settings: SophiaSettings) -> None:
        self.hush = Hush(settings)
        self.now, self.decided_at, self.held_at = 0.0, math.inf, math.inf

    def decide(self, outcome: Outcome | None) -> None:
        if outcome is not None:
            self.hush.over()

    @rule(over_reply=st.booleans())
    def begins(self, over_reply: bool) -> None:
        was_paused = self.hush.paused
        self.decided_at = self.hush.speech_began(self.now, over_reply=over_reply)
        if self.hush.paused and not was_paused:
            self.held_at = self.now
        assert self.hush.paused or not over_reply

    @rule()
    def stops(self) -> None:
        self.decided_at = self.hush.speech_stopped(self.now)
        assert self.decided_at <= self.now + SETTINGS.resume_after_ms / 1e3

    @precondition(lambda self: self.hush.paused)
    @rule(voiced_ms=Lengths)
    def lasts(self, voiced_ms: float) -> None:
        outcome = self.hush.speech_lasts(voiced_ms)
        assert (outcome is Outcome.LONG_SPEECH) is (voiced_ms >= SETTINGS.interrupt_after_ms)
        self.decide(outcome)

    @rule(text=Texts, confidence=Shares, is_final=st.booleans(), speech_ms=Lengths)
    def says(self, text: str, confidence: float, is_final: bool, speech_ms: float) -> None:
        outcome = self.hush.heard(heard(text, confidence, is_final=is_final), speech_ms, "en-US")
        assert outcome is not None or not is_final, "what is final is decided"
        assert outcome is not Outcome.WORDS or not is_backchannel(text, "en-US")
        self.decide(outcome)

    @rule(seconds=st.floats(0, 1))
    def passes(self, seconds: float) -> None:
        self.now = min(self.now + seconds, self.decided_at)
        if self.now == self.decided_at:
            self.decided_at = math.inf
            self.hush.over()

    @invariant()
    def holds_no_reply_for_ever(self) -> None:
        if self.hush.paused:
            assert self.now <= self.decided_at <= self.held_at + LONGEST_S


TestSpeaking = Speaking.TestCase


@given(
    text=Words, speech_ms=Lengths, confidence=st.one_of(st.just(0.0), st.floats(SETTINGS.sure_confidence, 1))
)
def test_a_final_that_is_sure_or_names_no_confidence_is_meant(
    text: str, speech_ms: float, confidence: float
) -> None:
    outcome = Hush(SETTINGS).heard(heard(text, confidence, is_final=True), speech_ms, "en-US")
    assert outcome is Outcome.WORDS


@given(text=Words, confidence=Shares, is_final=st.booleans(), speech_ms=st.floats(SETTINGS.word_ms, 3000))
def test_words_that_last_like_some_are_meant(
    text: str, confidence: float, is_final: bool, speech_ms: float
) -> None:
    said = heard(text, confidence, is_final=is_final)
    assert Hush(SETTINGS).heard(said, speech_ms, "en-US") is Outcome.WORDS


def doubtful(sure: float, speech_ms: float, share: float) -> float:
    """A confidence that is less than `sure`, made smaller by the length of the speech, asks for."""
    return share * sure * (1 - speech_ms / SETTINGS.word_ms)


Less = st.floats(0.01, 0.99)
Short = st.floats(0, 0.99 * SETTINGS.word_ms)


@given(text=Words, share=Less, speech_ms=Short)
def test_short_words_are_meant_once_they_are_said_again_or_last(
    text: str, share: float, speech_ms: float
) -> None:
    hush, confidence = Hush(SETTINGS), doubtful(SETTINGS.sure_stability, speech_ms, share)
    hush.speech_began(0.0, over_reply=True)
    assert hush.heard(heard(text, confidence, is_final=False), speech_ms, "en-US") is None
    assert hush.speech_lasts(speech_ms) is None
    assert hush.speech_lasts(SETTINGS.word_ms) is Outcome.WORDS
    again = heard(f"{text.upper()}!", confidence, is_final=False)
    assert hush.heard(again, speech_ms, "en-US") is Outcome.WORDS


@given(text=Words, share=Less, speech_ms=Short)
def test_short_words_whose_final_is_not_sure_were_a_noise(text: str, share: float, speech_ms: float) -> None:
    hush, confidence = Hush(SETTINGS), doubtful(SETTINGS.sure_confidence, speech_ms, share)
    assert hush.heard(heard(text, 0.0, is_final=False), speech_ms, "en-US") is None
    assert hush.heard(heard(text, confidence, is_final=True), speech_ms, "en-US") is Outcome.NOISE
    assert hush.speech_lasts(SETTINGS.word_ms) is None, "it is not doubted any more"


@given(text=Words, confidence=Shares, is_final=st.booleans(), lengths=st.tuples(Lengths, Lengths))
def test_the_longer_the_speech_the_less_sure_its_words_have_to_be(
    text: str, confidence: float, is_final: bool, lengths: tuple[float, float]
) -> None:
    said = heard(text, confidence, is_final=is_final)
    shorter, longer = (Hush(SETTINGS).heard(said, ms, "en-US") is Outcome.WORDS for ms in sorted(lengths))
    assert longer or not shorter


@given(first=Words, then=Words)
def test_a_word_that_is_doubted_is_forgotten_when_speech_begins_anew(first: str, then: str) -> None:
    hush = Hush(SETTINGS)
    hush.heard(heard(first, 0.0, is_final=False), 0.0, "en-US")
    hush.speech_began(0.0, over_reply=True)
    assert hush.speech_lasts(SETTINGS.word_ms) is None
    assert hush.heard(heard(then, 0.0, is_final=False), 0.0, "en-US") is None


@given(text=Words, confidence=Shares, is_final=st.booleans(), speech_ms=Lengths)
def test_without_a_least_length_every_word_is_believed(
    text: str, confidence: float, is_final: bool, speech_ms: float
) -> None:
    hush = Hush(SophiaSettings(word_ms=0))
    assert hush.heard(heard(text, confidence, is_final=is_final), speech_ms, "en-US") is Outcome.WORDS


@given(pauses_s=st.lists(st.floats(0, SETTINGS.resume_after_ms / 1e3), min_size=20))
def test_one_cough_after_another_holds_no_reply_for_ever(pauses_s: list[float]) -> None:
    hush, now = Hush(SETTINGS), 0.0
    for pause_s in pauses_s:
        for decided_at in (hush.speech_began(now, over_reply=True), hush.speech_stopped(now)):
            assert decided_at <= LONGEST_S
        now = min(now + pause_s, LONGEST_S)


def test_a_quiet_word_behind_a_loud_murmur_is_judged_by_itself() -> None:
    hush = Hush(SETTINGS)
    hush.speech_began(0, over_reply=True)
    hush.listen(said("Uh-huh."))
    assert hush.heard(heard("who", 0.98, is_final=True), 400, "en-US") is Outcome.BACKCHANNEL
    hush.listen((np.frombuffer(said("Stop."), "<i2") // 4).astype("<i2").tobytes())
    assert hush.heard(heard("stop", 0.95, is_final=True), 350, "en-US") is Outcome.WORDS


def test_where_every_word_is_believed_a_murmur_is_one() -> None:
    hush = Hush(SophiaSettings(word_ms=0))
    hush.listen(said("Uh-huh."))
    assert hush.heard(heard("who", 0.98, is_final=True), 400, "en-US") is Outcome.WORDS


def test_what_was_heard_is_kept_over_a_pause_and_not_for_ever() -> None:
    hush = Hush(SETTINGS)
    for pause_s, outcome in ((1.0, Outcome.BACKCHANNEL), (3.0, Outcome.WORDS)):
        hush.listen(said("Uh-huh."))
        for _ in range(int(pause_s * 50)):
            hush.listen(bytes(640), quiet=True)
        assert hush.heard(heard("who", 0.98, is_final=True), 400, "en-US") is outcome


def test_a_sound_that_began_in_a_quiet_piece_is_judged_from_its_onset() -> None:
    hum = said("Mhm.")
    loudest = int(np.abs(np.frombuffer(hum, "<i2")).argmax()) * 2
    hum = hum[loudest : loudest + 3200]  # 100 ms of it, and 40 to 60 are no murmur by themselves
    for cut in range(1280, 1921, 128):
        hush = Hush(SETTINGS)
        hush.listen(bytes(640), quiet=True)
        hush.listen(hum[:cut], quiet=True)
        hush.listen(hum[cut:])
        assert hush.heard(heard("who", 0.98, is_final=True), 100, "en-US") is Outcome.BACKCHANNEL
        hush.listen(hum[cut:])
        assert hush.heard(heard("who", 0.98, is_final=True), 60, "en-US") is Outcome.WORDS
