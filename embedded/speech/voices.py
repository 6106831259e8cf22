"""The voices of this server, and how clients may name them."""

from __future__ import annotations

from dataclasses import dataclass

from embedded.speech.refusals import unavailable_model

SUBVOICE = "Default"


@dataclass(frozen=True)
class Voice:
    """`espeak` is espeak-ng's own name: it knows neither 'de-DE' nor 'en-US'."""

    name: str
    language: str
    espeak: str


VOICES = (Voice("espeak-en-US", "en-US", "en-us"), Voice("espeak-de-DE", "de-DE", "de"))


def find_voice(name: str, language: str, sample_rate: int) -> Voice:
    """By name, by language, or the first one. `de` finds de-DE; `espeak-de-DE.Default` its only subvoice."""
    wanted = language.lower()
    for voice in VOICES:
        spoken = voice.language.lower()
        if wanted in ("", spoken, spoken.partition("-")[0]) and name in (
            "",
            voice.name,
            f"{voice.name}.{SUBVOICE}",
        ):
            return voice
    raise unavailable_model(language_code=language, voice_name=name, sample_rate=sample_rate, type="tts")
