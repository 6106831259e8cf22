"""How the loop behaves among people, and among those who mean no good.

First the whole product, its embedded engines, and callers with sound cards. Between sophia and the speech
server lies a tap that hands everything on, so that what was synthesised, and with which word times, is known
to the sample. Counts, not times: they hold on a busy machine as well.

- `false_interruptions`: of `noises` coughs, clicks and "mhm" (the embedded voice's) over a sounding reply,
  those that ended it; by kind with `_cough`, `_click`, `_mhm`. `words_lost`: words of the replies that none
  of them ended which did not reach the card in the samples in which they were synthesised.
- `spoken_text_exact_share`: of `interruptions` at random times, by voice and by button, those whose
  `interrupted` names exactly the words of which the card had played at least half.
- `v2v_ms_p50`: real people's clips, from the last voiced sample sent to the reply's first sample received,
  and beside it its parts: `v2v_speech_end_to_final_ms_p50` and so on, as turn.metrics tells them, with
  `v2v_rest_ms_p50` for the client and what lies between. The one figure that a busy machine spoils; the tap
  is on its way.

Then sophia, nova and aurora with engines that cost next to nothing (voxloop/bench/loop_engines.py):

- `sessions_leak_mb`, `sessions_leak_tasks`: what sophia holds more (USS, tasks of its event loop) after
  `sessions` opened and closed, in peace and by a broken connection, on both wires; behind two
  fifths as many that are not counted, and with no conversation kept for a client that comes back. A row for
  each fifth.
- `sessions_lost`, `turns_unanswered`: of people who talk while Riva, nova and aurora are killed `kills`
  times and restarted. A turn is answered by its whole reply, or by an error that says to try again
  (`turns_told`).
- `fuzzed_messages`: of broken clients, on both wires (voxloop/bench/manners_garbage.py). `unanswered`: those
  that must be refused and were not, where the session was not closed with a code either. `crashes`: of
  sophia or nova, and sessions that ended by a fault of the server's own. `bystander_failed`: turns of
  somebody who talks meanwhile that were not right.
- `unhandled`: errors and tracebacks in sophia's logs, of all parts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import uvloop

from voxloop.bench.manners_fuzz import fuzz
from voxloop.bench.manners_kills import kills
from voxloop.bench.manners_log import unhandled
from voxloop.bench.manners_sessions import leaks
from voxloop.bench.manners_sounds import KINDS, noises
from voxloop.bench.manners_stack import house
from voxloop.bench.manners_talk import STAGES, clips, interruptions, noises_over_replies
from voxloop.bench.report import Figures, Report, Row


@dataclass(frozen=True)
class Plan:
    """How much is done. The defaults take some forty minutes."""

    noises: int = 200
    interruptions: int = 100
    sessions: int = 1000
    kills: int = 200
    talkers: int = 4
    """People whose engines are killed."""
    messages: int = 100_000
    clip_rounds: int = 2
    at_once: int = 3
    """Callers who speak; the speech server hears two at a time."""


SHORT = Plan(
    noises=12, interruptions=8, sessions=100, kills=12, talkers=2, messages=5000, clip_rounds=1, at_once=2
)
"""Some four minutes."""


def run(plan: Plan | None = None, *, short: bool = False) -> Report:
    """Raises StartupError where the product does not start."""
    return uvloop.run(_run(plan or (SHORT if short else Plan())))


async def _run(plan: Plan) -> Report:
    rows, out = await _among_people(plan)
    of_free_engines = (
        partial(leaks, plan.sessions),
        partial(kills, plan.kills, plan.talkers),
        partial(fuzz, plan.messages),
    )
    for part in of_free_engines:
        more, counted = await part()
        rows += more
        faults = (out["unhandled"] or 0) + (counted["unhandled"] or 0)
        out |= counted | {"unhandled": faults}
    columns = dict.fromkeys(column for row in rows for column in row)
    rows = [{column: row.get(column) for column in columns} for row in rows]
    return Report("manners", rows, out, (f"load of the machine (1 min): {os.getloadavg()[0]:.2f}",))


async def _among_people(plan: Plan) -> tuple[list[Row], Figures]:
    async with house() as home:
        rows = await clips(home.voice_url, plan.clip_rounds)
        rows += await noises_over_replies(
            home.voice_url, await noises(plan.noises, home.riva), plan.at_once, home.tap
        )
        rows += await interruptions(home.voice_url, plan.interruptions, plan.at_once, home.tap)
        return rows, figures(rows) | {"unhandled": unhandled(home.log("sophia"))}


def figures(rows: Sequence[Row]) -> Figures:
    sounds = [row for row in rows if row["part"] == "noise"]
    timed = [row for row in rows if row["part"] == "clip" and row.get("v2v_ms") is not None]
    meant = [row for row in rows if row["part"] == "interruption"]
    false = [row["what"] for row in sounds if row["interrupted"]]
    return {
        "noises": len(sounds),
        "noises_hushed": sum(row["hushed"] for row in sounds),
        "false_interruptions": len(false),
        **{f"false_interruptions_{kind}": false.count(kind) for kind in KINDS},
        "words_lost": sum(row["words_lost"] for row in sounds),
        "interruptions": len(meant),
        "spoken_text_exact_share": _share([row["exact"] for row in meant]),
        **parts(timed),
    }


def _share(good: Sequence[bool]) -> float | None:
    return round(sum(good) / len(good), 3) if good else None


def parts(timed: Sequence[Row]) -> Figures:
    """Medians of the whole way and of each part of it, over the clips that were answered."""
    if not timed:
        return {"v2v_ms_p50": None}
    named = [f"{stage}_ms" for stage in STAGES]
    rest = [row["v2v_ms"] - sum(row[name] or 0.0 for name in named) for row in timed]
    return {
        "clips_answered": len(timed),
        "v2v_ms_p50": round(median(row["v2v_ms"] for row in timed), 1),
        **{f"v2v_{name}_p50": round(median(row[name] or 0.0 for row in timed), 1) for name in named},
        "v2v_rest_ms_p50": round(median(rest), 1),
    }
