"""Phase 3's facts: each service by its own word, and one spoken question from end to end."""

from __future__ import annotations

import asyncio
import os

from shared.errors import VoxloopError
from voxloop import talk
from voxloop.doctor.facts import Answer, Services
from voxloop.paths import QUESTION
from voxloop.peers import Peers, ask_service, outcome

TURN_S = 90.0


async def read_services(peers: Peers) -> Services:
    nova, sophia, aurora = await asyncio.gather(
        _ready("nova", peers.nova_url),
        _ready("sophia", peers.sophia_url),
        _ready("aurora", peers.aurora_url),
    )
    turn = Answer(peers.voice_url, "sophia is not ready") if sophia.fault else await take_turn(peers)
    return Services(nova, sophia, aurora, turn)


async def _ready(name: str, url: str) -> Answer:
    said = await outcome(name, ask_service(name, url))
    return (
        Answer(url, said.message, said.hint) if isinstance(said, VoxloopError) else Answer(url, detail=said)
    )


async def take_turn(peers: Peers) -> Answer:
    """The recorded question, spoken to sophia. Its words are the sample's own, so they may be shown."""
    pcm = talk.load_question(QUESTION)
    key = os.environ.get("VOXLOOP_API_KEY", "")
    turn = await outcome("sophia", talk.talk(peers.voice_url, pcm, api_key=key), TURN_S)
    if isinstance(turn, VoxloopError):
        return Answer(peers.voice_url, turn.message, turn.hint)
    took = f"{turn.voice_to_voice_ms:.0f} ms" if turn.voice_to_voice_ms is not None else "an unknown time"
    detail = (
        f"heard {turn.transcript!r}, answered {turn.answer!r} after {took}, {len(turn.frames)} face frames"
    )
    return Answer(peers.voice_url, "; ".join(turn.shortcomings()), detail=detail)
