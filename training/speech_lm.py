"""Makes the embedded recogniser's domain: `python -m training.speech_lm` writes embedded/speech/domain.*.

A trigram model of what nova-mini's users say, interpolated after Witten and Bell (1991): an n-gram's
probability is its count mixed with the shorter one's, the more so the more different words follow.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from pocketsphinx import NGramModel, get_model_path

from training.nova_mini.spoken import spoken_sentences

TARGET = Path(__file__).resolve().parent.parent / "embedded" / "speech"
SEED, SENTENCES = 7, 300_000
ORDER = 3
KEEP_TRIGRAMS_FROM = 2  # counts; those heard once fill the file and teach little
KEEP_WORDS_FROM = 5  # rarer ones are made up to be spelt
BACKCHANNELS = ("mhm", "mhm mhm", "hmm", "uh-huh", "um", "uh", "ah", "oh")
BACKCHANNEL_SHARE = 0.02  # of all utterances: listeners murmur, and it should not read as words
NEVER = -99.0  # ARPA's log10 of zero

PRONUNCIATIONS = {
    "abuja": "AH B UW JH AH",
    "bratislava": "B R AA T IH S L AA V AH",
    "dodoma": "D OW D OW M AH",
    "gpu": "JH IY P IY Y UW",
    "hmm": "HH AH M",
    "kathmandu": "K AE T M AE N D UW",
    "kyiv": "K IY V",
    "mhm": "M HH M",
    "rabat": "R AH B AA T",
    "tallinn": "T AA L IH N",
    "ulan": "UW L AA N",
    "valletta": "V AH L EH T AH",
    "voxloop": "V AA K S L UW P",
}
"""What the general dictionary lacks, beside what it has."""
VOICELESS, SIBILANT = {"P", "T", "K", "F", "TH"}, {"S", "Z", "SH", "ZH", "CH", "JH"}

Gram = tuple[str, ...]


class Trigrams:
    """Interpolated probabilities and the back-off weights that ARPA wants for what was never heard."""

    def __init__(self, sentences: Iterable[str]) -> None:
        counts = _counts(sentences)
        unigrams = {gram: count for gram, count in counts[0].items() if gram != ("<s>",)}
        total = sum(unigrams.values()) + len(unigrams)
        self.probabilities: list[dict[Gram, float]] = [
            {gram: (count + 1) / total for gram, count in unigrams.items()},
            *({} for _ in range(ORDER - 1)),
        ]
        self.weights: list[dict[Gram, float]] = [{} for _ in range(ORDER)]
        for order in range(1, ORDER):
            self._add_order(order, counts[order])

    def _add_order(self, order: int, counts: Counter[Gram]) -> None:
        followers: dict[Gram, list[Gram]] = defaultdict(list)
        for gram in counts:
            followers[gram[:-1]].append(gram)
        table = self.probabilities[order]
        for history, grams in followers.items():
            heard, kinds = sum(counts[gram] for gram in grams), len(grams)
            shorter = {gram: self.probability(gram[1:]) for gram in grams}
            for gram in grams:
                table[gram] = (counts[gram] + kinds * shorter[gram]) / (heard + kinds)
            left = 1 - sum(table[gram] for gram in grams)
            self.weights[order - 1][history] = max(left, 1e-9) / max(1 - sum(shorter.values()), 1e-9)

    def probability(self, gram: Gram) -> float:
        found = self.probabilities[len(gram) - 1].get(gram)
        if found is not None:
            return found
        return self.weights[len(gram) - 2].get(gram[:-1], 1.0) * self.probability(gram[1:])

    def arpa(self) -> Iterator[str]:
        starts = {("<s>",): 0.0}
        yield "\\data\\"
        for order in range(ORDER):
            yield f"ngram {order + 1}={len(self.probabilities[order]) + (order == 0)}"
        for order in range(ORDER):
            yield f"\n\\{order + 1}-grams:"
            for gram, value in sorted((self.probabilities[order] | (starts if order == 0 else {})).items()):
                line = f"{math.log10(value) if value else NEVER:.4f} {' '.join(gram)}"
                if order < ORDER - 1:
                    line += f" {math.log10(self.weights[order].get(gram, 1.0)):.4f}"
                yield line
        yield "\n\\end\\\n"


def _counts(sentences: Iterable[str]) -> list[Counter[Gram]]:
    counts: list[Counter[Gram]] = [Counter() for _ in range(ORDER)]
    for sentence in sentences:
        words = ["<s>", *sentence.split(), "</s>"]
        for order in range(ORDER):
            counts[order].update(zip(*(islice(words, skip, None) for skip in range(order + 1)), strict=False))
    counts[-1] = Counter({gram: count for gram, count in counts[-1].items() if count >= KEEP_TRIGRAMS_FROM})
    return counts


def dictionary(words: set[str]) -> dict[str, list[str]]:
    """Pronunciations of those words that have any."""
    general: dict[str, list[str]] = defaultdict(list)
    for line in Path(get_model_path("en-us/cmudict-en-us.dict")).read_text().splitlines():
        word, _, phones = line.partition(" ")
        general[word.partition("(")[0]].append(phones.strip())
    for word, phones in PRONUNCIATIONS.items():
        general[word].append(phones)
    found = {word: general[word] or _possessive(word, general) for word in words}
    return {word: phones for word, phones in found.items() if phones}


def _possessive(word: str, general: dict[str, list[str]]) -> list[str]:
    if not word.endswith("'s"):
        return []
    return [f"{phones} {_ending(phones.split()[-1])}" for phones in general[word.removesuffix("'s")]]


def _ending(last: str) -> str:
    return "S" if last in VOICELESS else "IH Z" if last in SIBILANT else "Z"


def main() -> None:
    sentences = spoken_sentences(SEED, SENTENCES)
    sentences += BACKCHANNELS * round(BACKCHANNEL_SHARE * SENTENCES / len(BACKCHANNELS))
    heard = Counter(word for sentence in sentences for word in sentence.split())
    known = dictionary({word for word, count in heard.items() if count >= KEEP_WORDS_FROM})
    usable = [sentence for sentence in sentences if all(word in known for word in sentence.split())]
    print(f"{len(usable)} of {len(sentences)} sentences, {len(known)} words; the others hold made-up words")
    entries = [
        f"{word}{f'({number})' if number > 1 else ''} {phones}\n"
        for word in sorted(known)
        for number, phones in enumerate(known[word], start=1)
    ]
    (TARGET / "domain.dict").write_text("".join(entries))
    with tempfile.NamedTemporaryFile("w", suffix=".arpa") as arpa:
        arpa.write("\n".join(Trigrams(usable).arpa()))
        arpa.flush()
        NGramModel.readfile(arpa.name).write(str(TARGET / "domain.lm.bin"))


if __name__ == "__main__":
    main()
