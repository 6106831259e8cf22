"""What a client wants spoken, as espeak-ng can read it, with a map back to the client's own words.

Riva's rules for SSML: a valid XML document whose root is `<speak>`; anything else is read as raw text.
Its tags are prosody, phoneme and sub; espeak-ng ignores phoneme, so that and the custom dictionary
become its `[[…]]`. Ranges are Riva's: rate 25..250 %, pitch -3..3 or -150..150 Hz, volume -13..8 dB.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from embedded.speech.phones import looks_like_arpabet, mnemonics
from shared.errors import InputError

MAX_TEXT = 400
"""Characters of one request. Riva's own engines get unreliable from there on."""

_TOKEN = re.compile(r"\S+|\s+")
_EDGES = re.compile(r"^\W+|\W+$")
_KEYWORDS = set("x-low low medium high x-high default silent x-soft soft loud x-loud".split())
_KEPT_TAGS = {"break", "emphasis", "say-as", "s", "p"}
_MAX_BREAK_S = 10.0
_MURMURS = {
    said: sounds
    for sounds, spellings in {
        "m|m|m": ("mm", "mmm"),
        "m|m|h|m|m": ("mhm", "mm-hmm", "mmhmm", "mm-hm"),
        "h|m|m|m": ("hm", "hmm", "hmmm"),
    }.items()
    for said in spellings
}
"""What listeners hum: espeak-ng would spell it, letter by letter."""


@dataclass(frozen=True)
class Span:
    """Characters `start`..`end` of the script stand for `word` of the client's text."""

    start: int
    end: int
    word: str


@dataclass(frozen=True)
class Script:
    text: str
    spans: tuple[Span, ...]
    ssml: bool = False
    phonemes: bool = False


def parse_dictionary(text: str) -> dict[str, str]:
    """`word  phonemes,word  phonemes` (two spaces), as NVIDIA's client joins its custom dictionary."""
    entries: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        word, gap, phonemes = entry.partition("  ")
        if not gap or not phonemes.strip():
            raise InputError(f"custom_dictionary entry {entry!r} is not `word  phonemes` with two spaces")
        phonemes = phonemes.strip()
        alphabet = "x-arpabet" if looks_like_arpabet(phonemes) else "ipa"
        entries[word.lower()] = mnemonics(phonemes, alphabet)
    return entries


def write_script(text: str, dictionary: dict[str, str]) -> Script:
    """InputError where there is nothing to say, too much, or a value out of Riva's ranges."""
    if not text.strip():
        raise InputError("the text is empty; there is nothing to synthesize")
    if len(text) > MAX_TEXT:
        raise InputError(f"Input text too long: {len(text)} characters, at most {MAX_TEXT}")
    root = _speak_element(text)
    writer = _Writer(dictionary, ssml=root is not None)
    if root is None:
        writer.words(text)
    else:
        writer.element(root)
    if not writer.spans:
        raise InputError("the text holds no words; there is nothing to synthesize")
    return Script(writer.text, tuple(writer.spans), writer.ssml, writer.phonemes)


def _speak_element(text: str) -> ElementTree.Element | None:
    if "<!" in text:  # no SSML needs a DTD, and entities may grow without end
        return None
    try:
        root = ElementTree.fromstring(text.strip())  # noqa: S314 - short, and without a DTD
    except ElementTree.ParseError:
        return None
    return root if _tag(root) == "speak" else None


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


class _Writer:
    def __init__(self, dictionary: dict[str, str], *, ssml: bool) -> None:
        self.text = ""
        self.spans: list[Span] = []
        self.ssml = ssml
        self.phonemes = False
        self._dictionary = dictionary

    def element(self, element: ElementTree.Element) -> None:
        match _tag(element):
            case "phoneme":
                said = mnemonics(element.get("ph", ""), element.get("alphabet", "ipa"))
                self._sounds(said, "".join(element.itertext()).strip())
            case "sub":
                self.words(element.get("alias", ""))
            case tag:
                opening, closing = _tags(tag, element)
                self.text += opening
                self.words(element.text or "")
                for child in element:
                    self.element(child)
                    self.words(child.tail or "")
                self.text += closing

    def words(self, text: str) -> None:
        measures = False  # "5 mm" is no hum, and neither is "HM"
        for token in _TOKEN.findall(text):
            word = _EDGES.sub("", token)
            said = self._dictionary.get(word.lower())
            if said is None and not measures and not word.isupper():
                said = _MURMURS.get(word.lower())
            measures = word[-1:].isdigit() or (measures and not word)
            if said is not None:
                before, _, after = token.partition(word)
                self._plain(before)
                self._sounds(said, word)
                self._plain(after)
            elif word:
                start = len(self.text)
                self._plain(token)
                self.spans.append(Span(start, len(self.text), word))
            else:
                self._plain(token)

    def _plain(self, text: str) -> None:
        text = text.replace("[[", "[ [")  # a client's brackets are text, ours are phonemes
        self.text += escape(text) if self.ssml else text

    def _sounds(self, said: str, word: str) -> None:
        start = len(self.text)
        self.text += f"[[{escape(said) if self.ssml else said}]]"
        self.spans.append(Span(start, len(self.text), word))
        self.phonemes = True


def _tags(tag: str, element: ElementTree.Element) -> tuple[str, str]:
    """The tags as espeak-ng gets them; those that it should not see vanish, their text stays."""
    if tag == "speak":
        return "<speak>", "</speak>"
    if tag == "prosody":
        attributes = _prosody(element)
    elif tag in _KEPT_TAGS:
        attributes = _break(element) if tag == "break" else dict(element.attrib)
    else:
        return "", ""
    written = "".join(f' {name}="{escape(value, {chr(34): "&quot;"})}"' for name, value in attributes.items())
    return f"<{tag}{written}>", f"</{tag}>"


def _prosody(element: ElementTree.Element) -> dict[str, str]:
    readers = {"rate": _rate, "pitch": _pitch, "volume": _volume}
    return {
        name: value if (value := element.get(name, "").strip()) in _KEYWORDS else read(value)
        for name, read in readers.items()
        if element.get(name)
    }


def _rate(value: str) -> str:
    return f"{_number('rate', value, '%', 25, 250):g}%"


def _pitch(value: str) -> str:
    """Riva's unit is 50 Hz; espeak-ng takes per cent of a voice at about 100 Hz."""
    if value.lower().endswith("hz"):
        hertz = _number("pitch", value.lower(), "hz", -150, 150)
    else:
        hertz = 50 * _number("pitch", value, "", -3, 3)
    return f"{max(-100.0, hertz):+g}%"


def _volume(value: str) -> str:
    decibel = _number("volume", value.lower(), "db", -13, 8)
    return f"{100 * 10 ** (decibel / 20):.0f}"


def _break(element: ElementTree.Element) -> dict[str, str]:
    time = element.get("time", "")
    if not time:
        return dict(element.attrib)
    unit, scale = ("ms", 1e-3) if time.endswith("ms") else ("s", 1.0)
    seconds = scale * _number("break time", time, unit, 0, _MAX_BREAK_S / scale)
    return {"time": f"{1000 * seconds:.0f}ms"}


def _number(name: str, value: str, unit: str, low: float, high: float) -> float:
    try:
        number = float(value.removesuffix(unit))
    except ValueError:
        number = float("nan")
    if not low <= number <= high or not value.endswith(unit):
        raise InputError(f"SSML {name} {value!r} is not within {low:g}{unit}..{high:g}{unit}")
    return number
