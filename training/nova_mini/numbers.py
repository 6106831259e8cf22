"""Numbers in words, as a speech recogniser writes them: "one hundred twenty five", "fünfundzwanzig"."""

from __future__ import annotations

ENGLISH_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
ENGLISH_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
GERMAN_ONES = (
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn "
    "siebzehn achtzehn neunzehn"
).split()
GERMAN_TENS = "_ _ zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()


def english(value: int) -> str:
    """0 ≤ value < 1 000 000 000, without "and" and without hyphens."""
    if value < 20:
        return ENGLISH_ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return ENGLISH_TENS[tens] + (f" {ENGLISH_ONES[ones]}" if ones else "")
    for size, name in ((1_000_000, "million"), (1_000, "thousand"), (100, "hundred")):
        if value >= size:
            many, rest = divmod(value, size)
            return f"{english(many)} {name}" + (f" {english(rest)}" if rest else "")
    raise ValueError(value)


def german(value: int) -> str:
    """0 ≤ value < 1 000 000, in one word as German writes it."""
    if value < 20:
        return GERMAN_ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        first = "ein" if ones == 1 else GERMAN_ONES[ones]
        return (f"{first}und" if ones else "") + GERMAN_TENS[tens]
    size, name = (1_000, "tausend") if value >= 1_000 else (100, "hundert")
    many, rest = divmod(value, size)
    return ("ein" if many == 1 else german(many)) + name + (german(rest) if rest else "")


def english_year(value: int) -> str:
    """1000 ≤ value < 2100, as it is said: "nineteen eighty four", "two thousand six"."""
    century, rest = divmod(value, 100)
    if 2000 <= value < 2010:
        return english(value)
    if rest == 0:
        return f"{english(century)} hundred"
    return f"{english(century)} " + (f"oh {english(rest)}" if rest < 10 else english(rest))
