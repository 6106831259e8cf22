"""IPA and ARPAbet as espeak-ng's phoneme mnemonics, for `<phoneme>` and custom dictionaries.

espeak-ng writes phonemes in an ASCII notation of its own (its docs/phonemes.md) between `[[` and `]]`.
"""

from __future__ import annotations

from shared.errors import InputError

_IPA = {
    # stress and length
    "ˈ": "'", "ˌ": ",", "ː": ":", ".": "", "‿": "", "͡": "", " ": "_: ",
    # consonants
    "p": "p", "b": "b", "t": "t", "d": "d", "k": "k", "g": "g", "ɡ": "g", "f": "f", "v": "v", "θ": "T",
    "ð": "D", "s": "s", "z": "z", "ʃ": "S", "ʒ": "Z", "h": "h", "m": "m", "n": "n", "ŋ": "N", "l": "l",
    "ɫ": "l", "r": "r", "ɹ": "r", "ɾ": "t#", "w": "w", "j": "j", "x": "x", "ç": "C", "ʔ": "?", "ʁ": "r",
    "tʃ": "tS", "dʒ": "dZ", "t͡ʃ": "tS", "d͡ʒ": "dZ", "ts": "ts", "pf": "pF",
    # vowels
    "i": "i", "iː": "i:", "ɪ": "I", "e": "E", "ɛ": "E", "æ": "a", "a": "a", "ɑ": "A:", "ɑː": "A:", "aː": "a:",
    "ɒ": "0", "ɔ": "O:", "ɔː": "O:", "ʊ": "U", "u": "u:", "uː": "u:", "ʌ": "V", "ə": "@", "ɚ": "3", "ɐ": "3",
    "ɜ": "3:", "ɝ": "3:", "ɜː": "3:", "ɝː": "3:", "eɪ": "eI", "aɪ": "aI", "ɔɪ": "OI", "aʊ": "aU", "oʊ": "oU",
    "əʊ": "oU", "o": "oU", "oː": "o:", "eː": "e:", "y": "y", "yː": "y:", "ʏ": "Y", "ø": "Y:", "øː": "Y:",
    "œ": "W",
}  # fmt: skip

_ARPABET = {
    "AA": "A:", "AE": "a", "AH": "V", "AO": "O:", "AW": "aU", "AY": "aI", "B": "b", "CH": "tS", "D": "d",
    "DH": "D", "EH": "E", "ER": "3:", "EY": "eI", "F": "f", "G": "g", "HH": "h", "IH": "I", "IY": "i:",
    "JH": "dZ", "K": "k", "L": "l", "M": "m", "N": "n", "NG": "N", "OW": "oU", "OY": "OI", "P": "p", "R": "r",
    "S": "s", "SH": "S", "T": "t", "TH": "T", "UH": "U", "UW": "u:", "V": "v", "W": "w", "Y": "j", "Z": "z",
    "ZH": "Z",
}  # fmt: skip
_ARPABET_STRESS = {"0": "", "1": "'", "2": ","}
_LONGEST = max(map(len, _IPA))


def mnemonics(phonemes: str, alphabet: str) -> str:
    """InputError names what is not in the alphabet. Riva's alphabets are `ipa` and `x-arpabet`."""
    if alphabet == "ipa":
        return _from_ipa(phonemes)
    if alphabet == "x-arpabet":
        return _from_arpabet(phonemes)
    raise InputError(f"phoneme alphabet {alphabet!r} is unknown; use ipa or x-arpabet")


def looks_like_arpabet(phonemes: str) -> bool:
    """NVIDIA's dictionaries write ARPAbet as `{@T}{@AH0}`."""
    return phonemes.startswith("{@")


def _from_ipa(phonemes: str) -> str:
    out, at = "", 0
    while at < len(phonemes):
        for size in range(_LONGEST, 0, -1):
            if (found := _IPA.get(phonemes[at : at + size])) is not None:
                # A bar keeps neighbours apart that would read as one mnemonic.
                out += found + ("|" if found[-1:].isalnum() else "")
                at += size
                break
        else:
            raise InputError(f"{phonemes[at]!r} is no IPA symbol that this voice knows")
    return out


def _from_arpabet(phonemes: str) -> str:
    out = ""
    for symbol in phonemes.replace("{@", " ").replace("}", " ").split():
        name, stress = (symbol[:-1], symbol[-1]) if symbol[-1:] in _ARPABET_STRESS else (symbol, "0")
        if name.upper() not in _ARPABET:
            raise InputError(f"{symbol!r} is no ARPAbet symbol")
        out += _ARPABET_STRESS[stress] + _ARPABET[name.upper()] + "|"
    return out
