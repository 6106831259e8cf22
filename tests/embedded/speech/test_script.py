from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.speech.script import MAX_TEXT, parse_dictionary, write_script
from shared.errors import InputError


def words(text: str, dictionary: dict[str, str] | None = None) -> list[str]:
    return [span.word for span in write_script(text, dictionary or {}).spans]


def test_plain_text_is_left_as_it_is() -> None:
    script = write_script("Hello there, I am 42.", {})
    assert (script.text, script.ssml, script.phonemes) == ("Hello there, I am 42.", False, False)
    assert [span.word for span in script.spans] == ["Hello", "there", "I", "am", "42"]


def test_other_xml_is_raw_text() -> None:
    for text in ("<b>bold</b>", "<speak>open", "1 < 2", "<speak><!DOCTYPE x></speak>"):
        script = write_script(text, {})
        assert (script.text, script.ssml) == (text, False)


def test_ssml_keeps_the_clients_words() -> None:
    text = '<speak>It is <emphasis level="strong">very</emphasis> cold &amp; wet</speak>'
    assert words(text) == ["It", "is", "very", "cold", "wet"]
    assert write_script(text, {}).ssml


def test_a_phoneme_is_rewritten_and_keeps_its_word() -> None:
    script = write_script('<speak>I say <phoneme alphabet="ipa" ph="tə">tomato</phoneme>.</speak>', {})
    assert re.search(r"\[\[t\|@\|?\]\]", script.text)
    assert [span.word for span in script.spans] == ["I", "say", "tomato"]
    assert script.phonemes


def test_sub_is_read_as_its_alias() -> None:
    assert words('<speak><sub alias="World Wide Web">WWW</sub> rules</speak>') == [
        "World",
        "Wide",
        "Web",
        "rules",
    ]


def test_a_custom_dictionary_applies_to_whole_words_in_any_case() -> None:
    dictionary = parse_dictionary("read  rɛd,Nova  {@N}{@OW1}{@V}{@AH0}")
    script = write_script("Nova, Read this: reading.", dictionary)
    assert script.text.count("[[") == 2
    assert script.text.endswith("this: reading.")
    assert [span.word for span in script.spans] == ["Nova", "Read", "this", "reading"]


def test_a_murmur_is_hummed_and_not_spelt_unless_a_client_says_otherwise() -> None:
    script = write_script("Mm-hmm. I see.", {})
    assert script.text == "[[m|m|h|m|m]]. I see."
    assert [span.word for span in script.spans] == ["Mm-hmm", "I", "see"]
    assert write_script("Hmm", parse_dictionary("hmm  hɛm")).text == "[[h|E|m|]]"
    for text in ("The pipe is 5 mm wide.", "HM the King"):
        assert write_script(text, {}).text == text


@pytest.mark.parametrize("entry", ["read", "read rɛd", "read  "])
def test_a_damaged_dictionary_is_named(entry: str) -> None:
    with pytest.raises(InputError, match="two spaces"):
        parse_dictionary(entry)


@pytest.mark.parametrize(
    ("prosody", "expected"),
    [
        ('rate="50%"', 'rate="50%"'),
        ('rate="+200%"', 'rate="200%"'),
        ('rate="fast"', None),
        ('rate="x-high"', 'rate="x-high"'),
        ('rate="20%"', None),
        ('rate="251%"', None),
        ('pitch="1.0"', 'pitch="+50%"'),
        ('pitch="-50Hz"', 'pitch="-50%"'),
        ('pitch="4"', None),
        ('volume="+6dB"', 'volume="200"'),
        ('volume="9dB"', None),
        ('volume="nan"', None),
    ],
)
def test_prosody_has_rivas_ranges(prosody: str, expected: str | None) -> None:
    text = f"<speak><prosody {prosody}>hello</prosody></speak>"
    if expected is None:
        with pytest.raises(InputError, match="SSML"):
            write_script(text, {})
    else:
        assert expected in write_script(text, {}).text


def test_a_break_is_kept_and_bounded() -> None:
    assert '<break time="1500ms">' in write_script('<speak>a <break time="1.5s"/> b</speak>', {}).text
    with pytest.raises(InputError, match="break time"):
        write_script('<speak>a <break time="3600s"/> b</speak>', {})


def test_a_clients_brackets_are_text_and_no_phonemes() -> None:
    assert "[[" not in write_script("array[[0]]", {}).text


@pytest.mark.parametrize("text", ["", "  \n", "...", "<speak></speak>"])
def test_nothing_to_say_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="nothing to synthesize"):
        write_script(text, {})


def test_too_much_is_refused() -> None:
    write_script("a" * MAX_TEXT, {})
    with pytest.raises(InputError, match="too long"):
        write_script("a" * (MAX_TEXT + 1), {})


@given(st.text(max_size=100))
def test_any_text_is_written_or_refused_and_its_spans_lie_in_order(text: str) -> None:
    try:
        script = write_script(text, {"a": "b"})
    except InputError:
        return
    edges = [edge for span in script.spans for edge in (span.start, span.end)]
    assert edges == sorted(edges)
    assert edges[-1] <= len(script.text)
