"""Whole conversations: tasks, memories, small talk and the unknown, mixed as people mix them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from training.nova_mini import english, german, tables
from training.nova_mini.chat import ASSISTANT, said
from training.nova_mini.memory import TOPICS, Memory, is_held, memory
from training.nova_mini.outside import outside
from training.nova_mini.phrasing import Exchange, Language, ask, listed
from training.nova_mini.surface import heard

TASKS = {"en": english.TASKS, "de": german.TASKS}
INTENTS = {"en": (("smalltalk_en.txt", "stories_en.txt"), (92, 8)), "de": (("smalltalk_de.txt",), (1,))}
WORTH_GOING_ON = 60
"""Characters of an answer from which on it may be interrupted and asked to go on."""
LONGEST = 2400
"""Characters of a conversation; what does not fit a row of tokens in the end is left out."""
EITHER_LANGUAGE = ("name", "city", "age", "number")
AND = {"en": "and", "de": "und"}
NOTHING_SAID: dict[Language, str] = {
    "en": "I have not said anything yet.",
    "de": "Ich habe noch nichts gesagt.",
}
ALL_SAID: dict[Language, str] = {"en": "That was all.", "de": "Das war alles."}


@dataclass(frozen=True)
class Turn:
    """`user` as it reaches the model. A turn that was cut off is history only: nothing is learnt from it."""

    task: str
    user: str
    answer: str
    cut: bool = False
    language: Language = "en"


@dataclass
class Dialogue:
    """`system` is empty or a message that changes nothing."""

    system: str = ""
    turns: list[Turn] = field(default_factory=list)

    def prompt(self) -> str:
        """Everything up to the last answer, which is what the model must say next."""
        return self._text(self.turns[:-1]) + said("user", self.turns[-1].user) + ASSISTANT

    def size(self) -> int:
        """In characters."""
        return sum(len(turn.user) + len(turn.answer) for turn in self.turns)

    def _text(self, turns: list[Turn]) -> str:
        head = said("system", self.system) if self.system else ""
        return head + "".join(said("user", turn.user) + said("assistant", turn.answer) for turn in turns)


class Speaker:
    """Makes one conversation. `told` is what the user has said of themselves so far, by what it is about."""

    def __init__(self, rng: random.Random, language: Language | None = None) -> None:
        self.rng = rng
        self.language: Language = language or ("en" if rng.random() < 0.72 else "de")
        self.dialogue = Dialogue(self._system())
        self.told: dict[str, Memory] = {}
        self.hinted = False
        self.last: Exchange | None = None
        self.rest = ""

    def converse(self, turns: int, *, may_cut: bool = True) -> Dialogue:
        while len(self.dialogue.turns) < turns and self.dialogue.size() < LONGEST:
            if self.rng.random() < 0.03:
                self.language = "de" if self.language == "en" else "en"
            self.say(trained(self.turn), may_cut=may_cut)
        return self.dialogue

    def say(self, exchange: Exchange, *, may_cut: bool = False) -> None:
        """Adds the turn, now and then cut off by the next one."""
        user, answer = heard(self.rng, exchange.user, exchange.language), exchange.answer
        self.rest = ""
        long = len(answer) > WORTH_GOING_ON
        if may_cut and self.rng.random() < (0.2 if long else 0.03) and answer.count(" ") > 1:
            words = answer.split(" ")
            at = self.rng.randrange(len(words))
            answer, rest = " ".join(words[:at]), " ".join(words[at:])
            self.rest = rest if long else ""
            self.dialogue.turns.append(
                Turn(exchange.task, user, self._as_cut(answer), True, exchange.language)
            )
        else:
            self.dialogue.turns.append(Turn(exchange.task, user, answer, False, exchange.language))
        if exchange.task == "outside":
            self.hinted = True
        if exchange.task not in ("repeat", "go on"):
            self.last = exchange

    def turn(self) -> Exchange:
        """What the user says next, and its answer."""
        rng = self.rng
        if self.rest and rng.random() < 0.4:
            return self.go_on()
        if not self.dialogue.turns and rng.random() < 0.15:
            return self.smalltalk()
        kinds = (
            self.task,
            self.tell,
            self.recall,
            self.unknown,
            self.smalltalk,
            self.outside,
            self.repeat,
            self.go_on,
        )
        return rng.choices(kinds, (43, 12, 14 if self.told else 0, 3, 12, 15, 2, 0.7))[0]()

    def task(self) -> Exchange:
        tasks = TASKS[self.language]
        return self.rng.choices(tuple(tasks), tuple(tasks.values()))[0](self.rng)

    def tell(self) -> Exchange:
        told, other = (memory(self.rng, self.rng.choice(TOPICS[self.language]), self.language) for _ in "12")
        exchange = told.tell(self.rng)
        if exchange.held:
            return exchange
        self.told[str(told)] = told
        also = other.tell(self.rng)
        if also.held or told.topic == other.topic or self.rng.random() > 0.12:
            return exchange
        self.told[str(other)] = other
        both = f"{exchange.user[:-1]} {AND[self.language]} {also.user[0].lower()}{also.user[1:]}"
        return replace(exchange, user=both, answer=f"{exchange.answer} {also.answer}")

    def recall(self) -> Exchange:
        told = self.rng.choice(tuple(self.told.values()))
        if told.topic == "name" and self.rng.random() < 0.05:
            return self.spelled_name(told.value)
        if told.topic in EITHER_LANGUAGE:
            told = replace(told, language=self.language)
        return told.recall(self.rng)

    def spelled_name(self, name: str) -> Exchange:
        letters = [letter.upper() for letter in name if letter.isalpha() and letter != "ß"]
        phrasings = tables.lines(f"phrases_{self.language}.txt", "spell my name")
        return ask(self.rng, "recall", phrasings, listed(letters), language=self.language)

    def unknown(self) -> Exchange:
        while (
            str(asked := memory(self.rng, self.rng.choice(TOPICS[self.language]), self.language)) in self.told
        ):
            pass
        unknown = asked.unknown(self.rng)
        if asked.topic == "name" and self.rng.random() < 0.1:
            return replace(self.spelled_name(""), task="unknown", answer=unknown.answer)
        return unknown

    def smalltalk(self) -> Exchange:
        file = self.rng.choices(*INTENTS[self.language])[0]
        intent = self.rng.choice(tables.intents(file))
        return ask(self.rng, "smalltalk", intent.phrasings, intent.answer, language=self.language)

    def outside(self) -> Exchange:
        return outside(self.rng, self.language, hint=not self.hinted)

    def repeat(self) -> Exchange:
        """The whole last answer once more, also where it was cut off."""
        answer = self.last.answer if self.last else NOTHING_SAID[self.language]
        phrasings = tables.lines(f"phrases_{self.language}.txt", "repeat")
        return ask(self.rng, "repeat", phrasings, answer, language=self.language)

    def go_on(self) -> Exchange:
        """The rest of an answer that was cut off."""
        phrasings = tables.lines(f"phrases_{self.language}.txt", "go on")
        return ask(self.rng, "go on", phrasings, self.rest or ALL_SAID[self.language], language=self.language)

    def _as_cut(self, answer: str) -> str:
        return answer.rstrip(".,") if self.rng.random() < 0.5 else answer

    def _system(self) -> str:
        if self.rng.random() > 0.22:
            return ""
        lines = tables.lines("system.txt", self.language if self.rng.random() < 0.5 else "en")
        return " ".join(self.rng.sample(lines, self.rng.choice((1, 1, 2, 3))))


def trained(make: Callable[[], Exchange]) -> Exchange:
    """One that is not held out of training."""
    while (exchange := make()).held:
        pass
    return exchange


def conversation(rng: random.Random) -> Dialogue:
    """One for training: nothing of it is held out."""
    turns = rng.choices((1, rng.randint(2, 5), rng.randint(6, 10), rng.randint(11, 30)), (25, 50, 20, 5))[0]
    return Speaker(rng).converse(turns)


def examination(rng: random.Random, kind: str) -> Dialogue:
    """One for the evaluation; only its last turn counts, and that one is held out of training.

    `kind`: "in_domain" or "german" for a task or small talk, "recall" for what was told a few turns earlier.
    """
    speaker = Speaker(rng, "de" if kind == "german" or (kind == "recall" and rng.random() < 0.2) else "en")
    language = speaker.language
    if kind != "recall":
        speaker.converse(rng.choice((0, 0, 1, 3)), may_cut=False)
        speaker.language = language
        make = speaker.smalltalk if rng.random() < 0.15 else speaker.task
        while not (exchange := make()).held:
            pass
        speaker.say(exchange)
        return speaker.dialogue
    while not is_held(told := memory(rng, rng.choice(TOPICS[language]), language)):
        pass
    speaker.say(told.tell(rng))
    others = [topic for topic in TOPICS[language] if topic != told.topic]
    for _ in range(rng.randint(0, 3)):
        make = rng.choice(
            (speaker.task, speaker.outside, lambda: memory(rng, rng.choice(others), language).tell(rng))
        )
        speaker.say(trained(make))
    speaker.say(told.recall(rng))
    return speaker.dialogue
