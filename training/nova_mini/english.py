"""What nova-mini can be asked in English: each function makes one question with its answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from training.nova_mini import tables
from training.nova_mini.phrasing import Exchange, ask, capital_first, listed

Task = Callable[[random.Random], Exchange]

lines = partial(tables.lines, "phrases_en.txt")
lines_of = partial(tables.lines, "words_en.txt")
words = partial(tables.words, "words_en.txt")
pairs = partial(tables.pairs, "words_en.txt")

TOO_BIG = "Those numbers are too big for me."
ROUND = (1, 9, 10, 90, 99, 100, 101, 199, 200, 250, 300, 400, 500, 600, 700, 800, 900, 990, 999)
"""Numbers that people like, and that carry far."""
TABLE = 12
"""Up to here products and quotients are known by heart, and none of them is held out."""
STEPS = {2: "two", 3: "three", 5: "five", 10: "ten"}


def arithmetic(rng: random.Random) -> Exchange:
    kinds = (addition, three_numbers, subtraction, multiplication, division, double, too_big)
    return rng.choices(kinds, (36, 4, 25, 26, 14, 4, 2))[0](rng)


def operands(rng: random.Random) -> tuple[int, int]:
    if rng.random() < 0.65:
        return rng.randint(0, 99), rng.randint(0, 99)
    a, b = rng.randint(0, 999), rng.randint(0, rng.choice((9, 99, 999)))
    if rng.random() < 0.25:
        a = rng.choice(ROUND)
    return (a, b) if rng.random() < 0.5 else (b, a)


def three_numbers(rng: random.Random) -> Exchange:
    a, b, c = (rng.randint(0, rng.choice((12, 50, 99))) for _ in range(3))
    answer = f"{a} plus {b} plus {c} is {a + b + c}."
    return ask(rng, "arithmetic", lines("three numbers"), answer, key=f"sum:{a}+{b}+{c}", a=a, b=b, c=c)


def addition(rng: random.Random) -> Exchange:
    a, b = operands(rng)
    op = rng.choice(("plus", "plus", "plus", "and", "added to"))
    phrasings = lines("addition" if rng.random() < 0.2 else "arithmetic")
    key = f"sum:{min(a, b)}+{max(a, b)}"
    return ask(rng, "arithmetic", phrasings, f"{a} plus {b} is {a + b}.", key=key, a=a, b=b, op=op)


def subtraction(rng: random.Random) -> Exchange:
    a, b = operands(rng)
    if a < b and rng.random() < 0.9:
        a, b = b, a
    answer = f"{a} minus {b} is {a - b if a >= b else f'minus {b - a}'}."
    op = rng.choice(("minus", "minus", "minus", "take away"))
    phrasings = lines("subtraction" if a >= b and rng.random() < 0.2 else "arithmetic")
    return ask(rng, "arithmetic", phrasings, answer, key=f"sub:{a}-{b}", a=a, b=b, op=op)


def multiplication(rng: random.Random) -> Exchange:
    a, b = rng.randint(0, 12), rng.randint(0, 12)
    if rng.random() < 0.3:
        a, b = rng.sample((rng.randint(2, 99), rng.choice((*range(2, 10), 10, 20, 50, 100))), 2)
    op = rng.choice(("times", "times", "multiplied by"))
    phrasings = lines("multiplication" if rng.random() < 0.15 else "arithmetic")
    key = f"mul:{min(a, b)}*{max(a, b)}" if max(a, b) > TABLE else ""
    return ask(rng, "arithmetic", phrasings, f"{a} times {b} is {a * b}.", key=key, a=a, b=b, op=op)


def division(rng: random.Random) -> Exchange:
    if rng.random() < 0.04:
        by_zero = "Nothing can be divided by zero."
        return ask(rng, "arithmetic", lines("division"), by_zero, a=rng.randint(0, 99), b=0)
    b, whole = rng.randint(1, 12), rng.randint(0, 12)
    rest = rng.randint(1, b - 1) if b > 1 and rng.random() < 0.15 else 0
    a = b * whole + rest
    answer = f"{a} divided by {b} is {whole}" + (f", remainder {rest}." if rest else ".")
    phrasings = lines("division" if rng.random() < 0.2 else "arithmetic")
    return ask(rng, "arithmetic", phrasings, answer, a=a, b=b, op="divided by")


def double(rng: random.Random) -> Exchange:
    a = rng.randint(1, 100)
    if rng.random() < 0.5:
        return ask(rng, "arithmetic", lines("half"), f"Half of {2 * a} is {a}.", key=f"half:{a}", a=2 * a)
    return ask(rng, "arithmetic", lines("twice"), f"Twice {a} is {2 * a}.", key=f"twice:{a}", a=a)


def too_big(rng: random.Random) -> Exchange:
    a, b = rng.choice((rng.randint(1000, 9999), rng.randint(10_000, 999_999))), rng.randint(2, 9999)
    op = rng.choice(("plus", "minus", "times", "divided by"))
    return ask(rng, "arithmetic", lines("arithmetic"), TOO_BIG, a=a, b=b, op=op)


def units(rng: random.Random) -> Exchange:
    *large_names, _, small, smalls, factor = rng.choice(lines_of("units")).split()
    small_names = [small, smalls]
    n = rng.choice((1, rng.randint(2, 12), rng.randint(2, 12), rng.randint(2, 30), rng.choice((50, 100))))
    there = (n, large_names, n * int(factor), small_names)
    back = (n * int(factor), small_names, n, large_names)
    given, given_names, wanted, wanted_names = there if rng.random() < 0.7 else back
    name = given_names[given > 1]
    answer = f"{given} {name} {'is' if given == 1 else 'are'} {wanted} {wanted_names[wanted > 1]}."
    article = "an" if name == "hour" or (name[0] in "aeiou" and name != "euro") else "a"
    said = article if given == 1 and rng.random() < 0.5 else given
    key = f"unit:{given} {name}" if n > TABLE else ""
    return ask(rng, "units", lines("convert"), answer, key=key, wanted=wanted_names[1], given=name, n=said)


def days(rng: random.Random) -> Exchange:
    i, names = rng.randrange(7), words("days")
    step = rng.choice((1, 1, -1, -1, 2, 3, 4, 5, 6))
    if step == -1:
        return ask(rng, "days", lines("before_day"), f"It is {names[i - 1]}.", day=names[i])
    answer = f"It is {names[(i + step) % 7]}."
    if step == 1:
        return ask(rng, "days", lines("after_day"), answer, day=names[i])
    return ask(rng, "days", lines("later_day"), answer, day=names[i], n=step)


def months(rng: random.Random) -> Exchange:
    i, names, ordinals = rng.randrange(12), words("months"), words("ordinals")
    month = names[i]
    kind = rng.choice(("after_month", "before_month", "number_month", "length_month", "season_month"))
    answer = {
        "after_month": f"It is {names[(i + 1) % 12]}.",
        "before_month": f"It is {names[i - 1]}.",
        "number_month": f"The {ordinals[i]} month is {month}.",
        "length_month": f"{month} has {pairs('month lengths')[month]}.",
        "season_month": f"{month} is in {words('seasons of months')[i]}.",
    }[kind]
    return ask(rng, "months", lines(kind), answer, month=month, ordinal=ordinals[i], n=i + 1)


def lists(rng: random.Random) -> Exchange:
    intent = rng.choice(tables.intents("lists_en.txt"))
    return ask(rng, "lists", intent.phrasings, intent.answer)


def times(rng: random.Random) -> Exchange:
    hour, n = rng.randint(1, 12), rng.randint(2, 8)
    if rng.random() < 0.4:
        answer = f"It is {(hour + n - 1) % 12 + 1} o'clock."
        return ask(rng, "times", lines("later_hour"), answer, key=f"later:{hour}+{n}", h=hour, n=n)
    if rng.random() < 0.5:
        answer = f"It was {(hour - n - 1) % 12 + 1} o'clock."
        return ask(rng, "times", lines("earlier_hour"), answer, key=f"earlier:{hour}-{n}", h=hour, n=n)
    minutes, before = rng.choice((5, 10, 15, 20, 25, 30)), (hour - 2) % 12 + 1
    word = {15: "quarter", 30: "half"}.get(minutes, str(minutes))
    if minutes == 30 or rng.random() < 0.5:
        said, clock = f"{word} past {hour}", f"{hour}:{minutes:02}"
    else:
        said, clock = f"{word} to {hour}", f"{before}:{60 - minutes}"
    return ask(rng, "times", lines("clock"), f"{capital_first(said)} is {clock}.", words=said)


def counting(rng: random.Random) -> Exchange:
    kind = rng.choices(("count", "count_to", "count_down", "count_by"), (45, 15, 20, 20))[0]
    step = 1
    if kind == "count_down":
        low = rng.choice((0, 1, 1, rng.randint(0, 30)))
        high = low + rng.randint(3, 20)
        said = range(high, low - 1, -1)
    elif kind == "count_by":
        step = rng.choice(tuple(STEPS))
        low = rng.choice((0, step, step, rng.randint(0, 10)))
        high = low + step * rng.randint(3, 10)
        said = range(low, high + 1, step)
    else:
        low = 1 if kind == "count_to" else rng.choice((1, 1, rng.randint(0, 40)))
        high = low + rng.choice(
            (rng.randint(1, 9), rng.randint(9, 20), rng.randint(15, 60), rng.randint(20, 99))
        )
        said = range(low, high + 1)
    key = f"{kind}:{low}-{high}" if low > 1 else ""
    step_word = STEPS.get(step, "")
    return ask(rng, "counting", lines(kind), listed(said), key=key, low=low, high=high, step=step_word)


def neighbours(rng: random.Random) -> Exchange:
    n = rng.randint(1, rng.choice((20, 100, 998)))
    kind = rng.choice(("after", "before", "parity"))
    answer = {
        "after": f"After {n} comes {n + 1}.",
        "before": f"Before {n} comes {n - 1}.",
        "parity": f"{n} is {'odd' if n % 2 else 'even'}.",
    }[kind]
    return ask(rng, "neighbours", lines(kind), answer, key=f"{kind}:{n}", n=n)


def spelling(rng: random.Random) -> Exchange:
    word = spelled_word(rng, (*words("spelling"), *words("names")))
    return ask(rng, "spelling", lines("spell"), listed(word.upper()), key=f"word:{word.lower()}", word=word)


def spelled_word(rng: random.Random, known: tuple[str, ...]) -> str:
    """A word, or one made of the halves of two, so that spelling is learnt by parts and not by heart."""
    word = rng.choice(known)
    if rng.random() < 0.5:
        return word
    other = rng.choice(known).lower()
    return word[: rng.randint(1, len(word))] + other[rng.randint(0, len(other) - 1) :]


def capitals(rng: random.Random) -> Exchange:
    country = "France" if rng.random() < 0.02 else rng.choice(tuple(pairs("capitals")))
    city = pairs("capitals")[country]
    several = city in ("London", country)
    if several or rng.random() < 0.8:
        return ask(rng, "capitals", lines("capital"), f"The capital of {country} is {city}.", country=country)
    return ask(rng, "capitals", lines("country"), f"{city} is the capital of {country}.", city=city)


def opposites(rng: random.Random) -> Exchange:
    pair = rng.choice(words("opposites")).split("/")
    word, other = rng.sample(pair, 2)
    return ask(rng, "opposites", lines("opposite"), f"The opposite of {word} is {other}.", word=word)


def colors(rng: random.Random) -> Exchange:
    if rng.random() < 0.25:
        mixed, color = rng.choice(tuple(pairs("mixtures").items()))
        a, b = rng.sample(mixed.split(), 2)
        return ask(rng, "colors", lines("mix"), f"{capital_first(a)} and {b} make {color}.", a=a, b=b)
    thing, color = rng.choice(tuple(pairs("things by color").items()))
    return ask(rng, "colors", lines("color"), f"{capital_first(thing)} is {color}.", thing=thing)


def animals(rng: random.Random) -> Exchange:
    kind = rng.choice(("sounds", "legs", "young"))
    animal, what = rng.choice(tuple(pairs(kind).items()))
    subject = capital_first(one(animal))
    answer = {
        "sounds": f"{subject} {what}.",
        "legs": f"{subject} has {what} legs.",
        "young": f"A young {animal} is called a {what}.",
    }[kind]
    named = animal if kind == "young" else one(animal)
    return ask(rng, "animals", lines(kind), answer, animal=named)


def one(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def comparing(rng: random.Random) -> Exchange:
    word = rng.choice(("bigger", "smaller"))
    key = ""
    if rng.random() < 0.25:
        sizes = words("by size")
        ordered = [one(sizes[i]) for i in sorted(rng.sample(range(len(sizes)), 2))]
    else:
        ordered = [str(n) for n in sorted(rng.sample(range(rng.choice((20, 100, 1000))), 2))]
        key = f"compare:{ordered}"
    smaller, bigger = ordered
    first, second = (bigger, smaller) if word == "bigger" else (smaller, bigger)
    a, b = rng.sample(ordered, 2)
    answer = f"{capital_first(first)} is {word} than {second}."
    return ask(rng, "comparing", lines(word), answer, key=key, a=a, b=b)


TASKS: dict[Task, float] = {
    arithmetic: 8.0,
    units: 3.0,
    days: 1.5,
    months: 1.5,
    lists: 1.0,
    times: 1.5,
    counting: 2.0,
    neighbours: 0.8,
    spelling: 2.0,
    capitals: 2.5,
    opposites: 1.5,
    colors: 1.2,
    animals: 1.2,
    comparing: 1.5,
}
