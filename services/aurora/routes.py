"""POST /aurora/emotions: for those who direct a face that somebody else gives its voice."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from services.aurora.service import FaceService


class EmotionsBody(BaseModel):
    session: str | None = None
    """Whose face; every one that speaks, if it is left out."""
    emotions: Annotated[dict[str, float], Field(max_length=64)]
    """Audio2Face's names, from 0 to 1; `neutral` alone ends them."""


class EmotionsAnswer(BaseModel):
    turns: int
    """How many turns took them: 0 where nobody speaks."""


def router(service: FaceService) -> APIRouter:
    routes = APIRouter(tags=["emotion"])

    @routes.post("/aurora/emotions")
    async def emotions(body: EmotionsBody) -> EmotionsAnswer:
        """Holds from the next sound of the turns that run, until they end."""
        return EmotionsAnswer(turns=service.feel(body.session, body.emotions))

    return routes
