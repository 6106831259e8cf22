"""What nova-mini can be asked in German: each function makes one question with its answer."""

from __future__ import annotations

import random
from functools import partial

from training.nova_mini import tables
from training.nova_mini.english import TABLE, Task, operands, spelled_word
from training.nova_mini.phrasing import Exchange, capital_first, listed
from training.nova_mini.phrasing import ask as ask_in

ask = partial(ask_in, language="de")
lines = partial(tables.lines, "phrases_de.txt")
lines_of = partial(tables.lines, "words_de.txt")
words = partial(tables.words, "words_de.txt")
pairs = partial(tables.pairs, "words_de.txt")

TOO_BIG = "Diese Zahlen sind mir zu groß."


def arithmetic(rng: random.Random) -> Exchange:
    kind = rng.choices(("plus", "minus", "mal", "geteilt durch", "too big"), (36, 25, 24, 12, 3))[0]
    a, b = operands(rng)
    if kind == "plus":
        key, result = f"sum:{min(a, b)}+{max(a, b)}", str(a + b)
    elif kind == "minus":
        a, b = max(a, b), min(a, b)
        key, result = f"sub:{a}-{b}", str(a - b)
    elif kind == "mal":
        a, b = rng.randint(0, 12), rng.randint(0, 12)
        key, result = "", str(a * b)
    elif kind == "geteilt durch":
        b, whole = rng.randint(1, 12), rng.randint(0, 12)
        a = b * whole
        key, result = "", str(whole)
    else:
        op = rng.choice(("plus", "minus", "mal"))
        return ask(rng, "arithmetic", lines("arithmetic"), TOO_BIG, a=rng.randint(1000, 99_999), b=b, op=op)
    return ask(
        rng, "arithmetic", lines("arithmetic"), f"{a} {kind} {b} ist {result}.", key=key, a=a, b=b, op=kind
    )


def units(rng: random.Random) -> Exchange:
    _, name, _, _, many, factor = rng.choice(lines_of("units")).split()
    n = rng.randint(2, rng.choice((TABLE, 30)))
    answer = f"{n} {name} sind {n * int(factor)} {many}."
    key = f"unit:{n} {name}" if n > TABLE else ""
    return ask(rng, "units", lines("convert"), answer, key=key, wanted=many, given=name, n=n)


def days(rng: random.Random) -> Exchange:
    i, names = rng.randrange(7), words("days")
    step = rng.choice((1, 1, -1, -1, 2, 3, 4, 5))
    answer = f"Das ist {names[(i + step) % 7]}."
    kind = {1: "after_day", -1: "before_day"}.get(step, "later_day")
    return ask(rng, "days", lines(kind), answer, day=names[i], n=step)


def months(rng: random.Random) -> Exchange:
    i, names, ordinals = rng.randrange(12), words("months"), words("ordinals")
    month = names[i]
    kind = rng.choice(("after_month", "before_month", "number_month", "length_month"))
    answer = {
        "after_month": f"Das ist der {names[(i + 1) % 12]}.",
        "before_month": f"Das ist der {names[i - 1]}.",
        "number_month": f"Der {ordinals[i]} Monat ist der {month}.",
        "length_month": f"Der {month} hat {pairs('month lengths')[month]}.",
    }[kind]
    return ask(rng, "months", lines(kind), answer, month=month, ordinal=ordinals[i])


def counting(rng: random.Random) -> Exchange:
    down = rng.random() < 0.3
    low = rng.choice((1, 1, rng.randint(0, 20)))
    high = low + (rng.randint(3, 20) if down else rng.choice((rng.randint(2, 19), rng.randint(15, 40))))
    kind, said = ("count_down", range(high, low - 1, -1)) if down else ("count", range(low, high + 1))
    return ask(
        rng,
        "counting",
        lines(kind),
        listed(said),
        key=f"{kind}:{low}-{high}" if low > 1 else "",
        low=low,
        high=high,
    )


def spelling(rng: random.Random) -> Exchange:
    word = spelled_word(rng, (*words("spelling"), *words("names")))
    letters = [letter if letter == "ß" else letter.upper() for letter in word]
    return ask(rng, "spelling", lines("spell"), listed(letters), key=f"word:{word.lower()}", word=word)


def capitals(rng: random.Random) -> Exchange:
    with_article = rng.random() < 0.15
    cities = pairs("capitals with article" if with_article else "capitals")
    country, city = rng.choice(tuple(cities.items()))
    if with_article or city in ("London", country) or rng.random() < 0.85:
        answer = f"Die Hauptstadt von {country} ist {city}."
        return ask(rng, "capitals", lines("capital"), answer, country=country)
    return ask(rng, "capitals", lines("country"), f"{city} ist die Hauptstadt von {country}.", city=city)


def opposites(rng: random.Random) -> Exchange:
    word, other = rng.sample(rng.choice(words("opposites")).split("/"), 2)
    return ask(rng, "opposites", lines("opposite"), f"Das Gegenteil von {word} ist {other}.", word=word)


def colors(rng: random.Random) -> Exchange:
    thing, color = rng.choice(tuple(pairs("things by color").items()))
    return ask(rng, "colors", lines("color"), f"{capital_first(thing)} ist {color}.", thing=thing)


def animals(rng: random.Random) -> Exchange:
    animal, sound = rng.choice(tuple(pairs("sounds").items()))
    return ask(rng, "animals", lines("sounds"), f"{capital_first(animal)} {sound}.", animal=animal)


def comparing(rng: random.Random) -> Exchange:
    smaller, bigger = sorted(rng.sample(range(rng.choice((20, 100, 1000))), 2))
    kind, first, second = rng.choice((("bigger", bigger, smaller), ("smaller", smaller, bigger)))
    a, b = rng.sample((smaller, bigger), 2)
    answer = f"{first} ist {'größer' if kind == 'bigger' else 'kleiner'} als {second}."
    return ask(rng, "comparing", lines(kind), answer, key=f"compare:{smaller}<{bigger}", a=a, b=b)


TASKS: dict[Task, float] = {
    arithmetic: 6.0,
    units: 2.0,
    days: 1.5,
    months: 1.5,
    counting: 1.5,
    spelling: 1.5,
    capitals: 2.5,
    opposites: 1.5,
    colors: 1.0,
    animals: 0.6,
    comparing: 1.2,
}
