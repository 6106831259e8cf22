"""What nova-mini's users say: the speech recogniser's language model and test sentences are made of this."""

from __future__ import annotations

import random

from training.nova_mini import english, memory, tables
from training.nova_mini.phrasing import Exchange, ask
from training.nova_mini.surface import addressed, contracted, spoken


def spoken_sentences(seed: int, count: int) -> list[str]:
    """`count` English turns as a recogniser writes them: lower case, numbers in words, no punctuation.

    They have the proportions of the training dialogues and repeat as people do. One seed, one list.
    """
    rng = random.Random(seed)
    sentences = []
    for _ in range(count):
        text = contracted(rng, sentence(rng).user)
        sentences.append(spoken(addressed(rng, text, "en", 0.06)))
    return sentences


def sentence(rng: random.Random) -> Exchange:
    draw = rng.random()
    if draw < 0.6:
        return rng.choices(tuple(english.TASKS), tuple(english.TASKS.values()))[0](rng)
    if draw < 0.75:
        told = memory.memory(rng, rng.choice(memory.TOPICS["en"]), made_up=False)
        return told.tell(rng) if rng.random() < 0.5 else told.recall(rng)
    if draw < 0.95:
        intent = rng.choice(tables.intents("smalltalk_en.txt") + tables.intents("stories_en.txt"))
        return ask(rng, "smalltalk", intent.phrasings, intent.answer)
    kind = rng.choice(("repeat", "go on"))
    return ask(rng, kind, tables.lines("phrases_en.txt", kind), "")
