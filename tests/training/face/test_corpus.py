from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedded.face.blendshapes import CLOSE, JAW
from embedded.face.features import BANDS, FLOOR
from embedded.face.network import HISTORY, LOOKAHEAD
from embedded.speech.voices import Voice
from training.face import corpus
from training.face.corpus import Corpus, made, stream
from training.face.voices import Cast
from voxloop.bench.face_voices import espeak_says

MAMA = espeak_says("Ma ma ma.", Voice("m1", "en-US", "en-us+m1"))


@pytest.mark.parametrize(("wear", "louder"), [(False, 0.3), (True, 0.1)])
def test_targets_lie_where_their_sound_is(wear: bool, louder: float) -> None:
    """Where the jaw is open there is a vowel, which is louder than an m."""
    for seed in range(4):
        one = stream([MAMA, MAMA], np.random.default_rng(seed), wear)
        loud = one.features[:, 8:14].mean(axis=1)
        opened, closed = one.targets[:, JAW] > 0.8, one.targets[:, CLOSE] > 0.9
        assert closed.sum() > 20
        assert loud[opened].mean() > loud[closed].mean() + louder


def test_all_that_a_row_needs_lies_around_it() -> None:
    one = stream([MAMA], np.random.default_rng(0))
    assert one.judged[0] == HISTORY
    assert one.judged[-1] == len(one.features) - LOOKAHEAD - 1
    assert (one.features[:HISTORY] == FLOOR).all()
    assert one.features.shape[1] == BANDS
    assert len(one.targets) == len(one.features)


def test_joined_streams_are_judged_where_they_were() -> None:
    first, second = (stream([MAMA], np.random.default_rng(seed)) for seed in (0, 1))
    both = Corpus.joined([first, second])
    assert np.array_equal(both.features[both.judged[-1]], second.features[second.judged[-1]])
    assert len(both.judged) == len(first.judged) + len(second.judged)


def test_parts_are_made_once_and_the_same_for_the_same_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "PART", 3)
    cast = Cast(flite=0)
    two = made(tmp_path / "one", cast, 1, 2)
    before = (tmp_path / "one" / "0.npz").stat().st_mtime_ns
    (tmp_path / "one" / "1.npz").unlink()  # as if the first call had been ended there
    again = made(tmp_path / "one", cast, 1, 2)
    assert (tmp_path / "one" / "0.npz").stat().st_mtime_ns == before
    assert len(again.judged) == pytest.approx(len(two.judged), abs=20)  # espeak-ng differs by some ms itself
    other = made(tmp_path / "other", cast, 2, 2)
    assert len(other.judged) != pytest.approx(len(two.judged), abs=20)
