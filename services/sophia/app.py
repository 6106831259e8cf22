"""The FastAPI app of sophia."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from services.sophia import openai_audio, page, pronunciations, wire
from services.sophia.answers import Answers
from services.sophia.end_of_turn import EndOfTurn
from services.sophia.engines import Engines
from services.sophia.face import Face
from services.sophia.realtime_ws import RealtimeWire
from services.sophia.riva import Riva
from services.sophia.sessions import Sessions
from services.sophia.settings import SophiaSettings
from services.sophia.tools import Offer, Toolbox
from services.sophia.voice_ws import VoiceWire
from shared.app import create_app as base_app
from shared.errors import SettingsError
from shared.health import Health


def create_app(settings: SophiaSettings) -> FastAPI:
    """Must be called on the running event loop's thread: gRPC channels belong to it."""
    toolbox = Toolbox(settings.tools, settings.tools_api_key, settings.max_tool_chars)
    offer = Offer(tuple(toolbox.tools.values()))
    if not settings.context().takes(settings.system, offer.text):
        raise SettingsError(
            "SOPHIA_CONTEXT_TOKENS has no room for a question beside what SOPHIA_TOOLS offers"
        )
    open_riva = partial(Riva, settings.riva(), settings.speech_deadline_s)
    dictionary = pronunciations.load(settings.pronunciations)
    engines = Engines(
        open_riva(dictionary),
        Answers(
            settings.nova(), settings.nova_model, settings.first_token_deadline_s, settings.answer_deadline_s
        ),
        Face(settings.aurora()),
        toolbox,
        EndOfTurn.load(settings.end_of_turn, settings.end_of_turn_deadline_ms / 1e3),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            for peer in (engines.riva, engines.answers, engines.face, toolbox):
                await peer.close()

    sessions = Sessions(engines, settings)
    check = Health(
        {
            "riva": engines.riva.probe,
            "nova": partial(engines.answers.probe, offer),
            "aurora": engines.face.probe,
            "sessions": sessions.probe,
            **({"pronunciations": pronunciations.Trial(dictionary, open_riva).probe} if dictionary else {}),
        },
        optional=frozenset({"aurora"}),
    )
    routers = [
        wire.router("/sophia/voice", VoiceWire, sessions),
        wire.router("/v1/realtime", RealtimeWire, sessions),
        openai_audio.router(engines.riva, settings),
        page.router(settings.web),
    ]
    return base_app(
        "sophia",
        settings,
        check,
        routers,
        lifespan,
        open_paths=page.paths(settings.web),
        drain=sessions.drain,
    )
