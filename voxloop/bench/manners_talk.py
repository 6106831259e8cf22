"""Sounds over a reply that are not meant, interruptions that are, and questions that are simply answered."""

from __future__ import annotations

import asyncio
import random
import re
from collections import deque
from collections.abc import Sequence

from shared.audio import RATE, read_wav
from shared.errors import VoxloopError
from voxloop import talk
from voxloop.bench.manners_caller import Caller, Turn, caller
from voxloop.bench.manners_sounds import Noise
from voxloop.bench.manners_tap import Tap
from voxloop.bench.report import Row
from voxloop.paths import QUESTION, ROOT

LONG_QUESTION = "Count from one to forty."
"""Its answer sounds for half a minute."""
QUESTIONS = (LONG_QUESTION, "What are the months of the year?", "What can you do?")
"""Answers of 30, 8 and 8 seconds: numbers, and words of all lengths."""
INTERRUPTION = ROOT / "samples" / "interrupt.wav"
CLIPS = ROOT.parent / "shared" / "clips"
GAP_S = (0.3, 0.9)
"""Between two sounds over a reply."""
DECIDED_S = 2.2
"""Behind a sound: longer than sophia may hold a reply for it."""
EARLIEST_S, LATEST_S = 0.4, 6.0
"""How much of a reply is heard before somebody interrupts it."""
RETRY = 1000
"""Added to the number of an interruption that came too late: another moment, of another reply."""
BY_BUTTON_EVERY = 4
STAGES = ("speech_end_to_final", "llm_first_token", "first_clause", "tts_first_audio", "first_audio_sent")


async def noises_over_replies(url: str, noises: Sequence[Noise], sessions: int, tap: Tap) -> list[Row]:
    """A row for each noise: what it did to the reply that it was played over."""
    waiting, rows = deque(noises), list[Row]()
    async with asyncio.TaskGroup() as group:
        for number in range(sessions):
            group.create_task(_cough_through(url, waiting, rows, tap, number))
    return rows


async def _cough_through(url: str, waiting: deque[Noise], rows: list[Row], tap: Tap, number: int) -> None:
    rng = random.Random(number)  # noqa: S311 - moments, not secrets
    async with caller(url) as person:
        while waiting:
            turn = await person.ask(LONG_QUESTION)
            await person.until_heard(RATE * EARLIEST_S)
            mine = await _cough_over(person, turn, waiting, rng)
            if turn.spoken is None:
                await person.until_over(turn)
                if mine:
                    mine[-1]["words_lost"] = _lost(turn, tap)
            rows += mine
            await person.skip()


async def _cough_over(person: Caller, turn: Turn, waiting: deque[Noise], rng: random.Random) -> list[Row]:
    """One noise after the other, for as long as this reply sounds."""
    rows: list[Row] = []
    while True:
        await asyncio.sleep(rng.uniform(*GAP_S))
        if not waiting or turn.is_over:
            return rows
        noise, pauses, finals = waiting.popleft(), turn.pauses, len(person.finals)
        await person.say(noise.pcm)
        await asyncio.sleep(DECIDED_S)
        rows.append(
            {
                "part": "noise",
                "what": noise.kind,
                "hushed": turn.pauses > pauses,
                "interrupted": turn.spoken is not None,
                "words_recognised": sum(len(normal(final["text"])) for final in person.finals[finals:]),
                "confidence": max((final["confidence"] for final in person.finals[finals:]), default=None),
                "words_lost": 0,
            }
        )


async def interruptions(url: str, count: int, sessions: int, tap: Tap) -> list[Row]:
    """A row for each: whether `interrupted` names what had been heard, to the word."""
    waiting, rows = deque(range(count)), list[Row]()
    async with asyncio.TaskGroup() as group:
        for _ in range(sessions):
            group.create_task(_interrupt_often(url, waiting, rows, tap))
    return rows


async def _interrupt_often(url: str, waiting: deque[int], rows: list[Row], tap: Tap) -> None:
    speech = read_wav(INTERRUPTION, RATE)
    async with caller(url) as person:
        while waiting:
            number = waiting.popleft()
            rng = random.Random(number)  # noqa: S311 - moments, not secrets
            turn = await person.ask(QUESTIONS[number % len(QUESTIONS)])
            await person.until_heard(RATE * rng.uniform(EARLIEST_S, LATEST_S))
            by_voice = number % BY_BUTTON_EVERY > 0
            if by_voice:
                await person.say(speech)
            else:
                await person.send(type="cancel")
            if await person.until_cut(turn):
                rows.append(_judged(turn, tap) | {"by": "voice" if by_voice else "button"})
            else:  # a short reply: its end was heard before that moment
                waiting.append(number + RETRY)
            if by_voice:
                await person.until_answered(turn)
            await person.skip()


def _lost(turn: Turn, tap: Tap) -> int:
    """Words of a whole reply that did not come, in the very samples in which they were synthesised."""
    asked, came = normal("".join(turn.pieces)), tap.words(bytes(turn.pcm))
    return len(asked) if came is None else len(asked) - len(normal(" ".join(word.word for word in came)))


def normal(text: str) -> list[str]:
    """Its words, without case and punctuation."""
    return re.findall(r"\w+", text.casefold())


def _judged(turn: Turn, tap: Tap) -> Row:
    words = tap.words(bytes(turn.pcm))
    at_ms = turn.heard / RATE * 1e3
    heard = [word.word for word in words or () if (word.start_ms + word.end_ms) / 2 <= at_ms]
    told = normal(turn.spoken or "")
    return {
        "part": "interruption",
        "interrupted": turn.spoken is not None,
        "at_s": round(turn.heard / RATE, 3),
        "same_sound": words is not None,
        "words_heard": len(heard),
        "words_told": len(told),
        "exact": words is not None and turn.spoken is not None and normal(" ".join(heard)) == told,
    }


async def clips(url: str, rounds: int) -> list[Row]:
    """Real people's words, one at a time, so often; the recorded question where there are none."""
    paths = sorted(clip for clip in CLIPS.glob("*.wav") if not clip.stem.startswith("de_"))
    rows: list[Row] = []
    for path in (paths or [QUESTION]) * rounds:
        try:
            exchange = await talk.talk(url, talk.load_question(path))
        except VoxloopError as error:
            rows.append({"part": "clip", "what": path.stem, "fault": str(error)})
            continue
        rows.append(
            {
                "part": "clip",
                "what": path.stem,
                "fault": "; ".join(exchange.faults),
                "v2v_ms": exchange.voice_to_voice_ms,
                **{f"{stage}_ms": exchange.stages.get(stage) for stage in STAGES},
            }
        )
    return rows
