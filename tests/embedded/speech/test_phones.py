from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.speech.phones import looks_like_arpabet, mnemonics
from shared.errors import InputError


@pytest.mark.parametrize(
    ("ipa", "expected"),
    [("ˈbɛnə", "'b|E|n|@"), ("tʃ", "tS|"), ("t͡ʃ", "tS|"), ("təˈmɑːtoʊ", "t|@'m|A:t|oU|")],
)
def test_ipa_becomes_espeaks_mnemonics(ipa: str, expected: str) -> None:
    assert mnemonics(ipa, "ipa") == expected


@pytest.mark.parametrize("arpabet", ["T AH0 M EY1 T OW2", "{@T}{@AH0}{@M}{@EY1}{@T}{@OW2}"])
def test_arpabet_is_read_with_and_without_nvidias_braces(arpabet: str) -> None:
    assert mnemonics(arpabet, "x-arpabet") == "t|V|m|'eI|t|,oU|"


def test_nvidias_braces_tell_arpabet_from_ipa() -> None:
    assert looks_like_arpabet("{@T}{@AH0}")
    assert not looks_like_arpabet("təˈmeɪtoʊ")


@pytest.mark.parametrize(("phones", "alphabet"), [("日", "ipa"), ("QQ", "x-arpabet"), ("a", "kirshenbaum")])
def test_what_is_in_no_alphabet_is_named(phones: str, alphabet: str) -> None:
    with pytest.raises(InputError, match=phones if alphabet != "kirshenbaum" else alphabet):
        mnemonics(phones, alphabet)


@given(st.text(max_size=20), st.sampled_from(["ipa", "x-arpabet"]))
def test_no_input_can_close_the_phonemes_and_smuggle_text(phones: str, alphabet: str) -> None:
    try:
        written = mnemonics(phones, alphabet)
    except InputError:
        return
    assert "]" not in written
