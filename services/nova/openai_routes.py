"""/v1/chat/completions and /v1/models, as OpenAI's clients expect them. Errors, too, have OpenAI's form."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from services.nova.admission import Lane
from services.nova.contracts import CallDelta, Sampling
from services.nova.http_stream import (
    CLIENT_CLOSED_REQUEST,
    DONE,
    ClientGone,
    Emit,
    EventStream,
    WhileConnected,
    event,
)
from services.nova.openai_bodies import ChatBody
from services.nova.routes import TheNova
from services.nova.service import Answer, Nova
from shared.errors import VoxloopError
from shared.openai_errors import OpenAiRoute, error_body, failure

FINISH_REASONS = {"length": "length", "tool_calls": "tool_calls"}  # all else is an end


router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAiRoute)


@router.get("/models")
async def models(nova: TheNova) -> dict[str, Any]:
    return {"object": "list", "data": [_model(nova)]}


@router.get("/models/{name:path}")
async def model(name: str, nova: TheNova) -> dict[str, Any]:
    nova.check_model(name)
    return _model(nova)


@router.post("/chat/completions")
async def chat_completions(body: ChatBody, request: Request, nova: TheNova) -> Response:
    nova.check_model(body.model)
    completion = Completion(nova, body)
    if body.stream:
        return EventStream(completion.stream, refuse=failure)
    try:
        async with WhileConnected(request.receive):
            return JSONResponse(await completion.whole())
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


@dataclass(frozen=True)
class Completion:
    nova: Nova
    body: ChatBody
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    async def whole(self) -> dict[str, Any]:
        with self.nova.admission.enter(Lane.BATCH, 1) as (ticket,):
            text, calls, answer = await self.nova.whole(self.body.chat(), self._sampling, ticket)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if calls:
            message |= {"content": text or None, "tool_calls": [_call(call) for call in calls]}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": FINISH_REASONS.get(answer.finish_reason, "stop"),
        }
        return self._object("chat.completion", [choice]) | {"usage": _usage(answer)}

    async def stream(self, emit: Emit) -> None:
        """Chunks. The first says the role and waits for the first text, so that a refusal has its status."""
        opening = self._chunk({"role": "assistant", "content": ""})
        head, tail = self._chunk({"content": "\0"}).split(b'"\\u0000"')  # made once, filled often

        async def write(part: str | CallDelta) -> None:
            nonlocal opening
            if isinstance(part, str):
                chunk = head + orjson.dumps(part) + tail
            else:
                chunk = self._chunk({"tool_calls": [{"index": part.index} | _call(part)]})
            await emit(opening + chunk)
            opening = b""

        with self.nova.admission.enter(Lane.BATCH, 1) as (ticket,):
            try:
                answer = await self.nova.stream(self.body.chat(), self._sampling, ticket, write)
            except VoxloopError as error:
                if opening:
                    raise
                await emit(event(orjson.dumps(error_body(error))))
                return
        await emit(opening + self._chunk({}, FINISH_REASONS.get(answer.finish_reason, "stop")))
        if self.body.stream_options is not None and self.body.stream_options.include_usage:
            closing = self._object("chat.completion.chunk", []) | {"usage": _usage(answer)}
            await emit(event(orjson.dumps(closing)))
        await emit(DONE)

    @property
    def _sampling(self) -> Sampling:
        return self.body.sampling(self.nova.settings)

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event(orjson.dumps(self._object("chat.completion.chunk", [choice])))

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.nova.settings.model,
            "choices": choices,
        }


def _call(call: CallDelta) -> dict[str, Any]:
    """The first part of a call names it, what follows are arguments alone."""
    named = {"id": call.id, "type": "function"} if call.id else {}
    name = {"name": call.name} if call.name else {}
    return {**named, "function": {**name, "arguments": call.arguments}}


def _usage(answer: Answer) -> dict[str, int]:
    prompt, completion = answer.prompt_tokens or 0, answer.completion_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _model(nova: Nova) -> dict[str, Any]:
    return {"id": nova.settings.model, "object": "model", "created": 0, "owned_by": "voxloop"}
