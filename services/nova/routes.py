"""POST /nova/generate: one prompt, several, or a conversation; whole or streamed."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from services.nova.admission import Lane, Ticket
from services.nova.bodies import GenerateAnswer, GenerateBody
from services.nova.contracts import CallDelta, Prompt, Sampling
from services.nova.http_stream import (
    CLIENT_CLOSED_REQUEST,
    DONE,
    ClientGone,
    Emit,
    EventStream,
    WhileConnected,
    event,
)
from services.nova.service import Answer, Nova
from shared.errors import InputError, VoxloopError

router = APIRouter(tags=["nova"])


async def the_nova(request: Request) -> Nova:
    """Not plain `def`: FastAPI would send each request through a thread for it."""
    nova: Nova = request.app.state.nova
    return nova


TheNova = Annotated[Nova, Depends(the_nova)]


RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": GenerateAnswer, "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    400: {"description": "The request cannot be served"},
    404: {"description": "There is no such model"},
    413: {"description": "The body is too large"},
    429: {"description": "No place is free; try again after Retry-After"},
    502: {"description": "The upstream refused, or answered nonsense"},
    503: {"description": "The upstream cannot be reached"},
    504: {"description": "The upstream did not answer in time"},
}


@router.post("/nova/generate", responses=RESPONSES)
async def generate(body: GenerateBody, request: Request, nova: TheNova) -> Response:
    """Answers to each prompt. Several run side by side; one that fails has `finish_reason` "error".

    A request of which nothing could be answered is itself an error. With `stream`: server-sent events
    `{"index", "text"}`, one closing `{"index", "finish_reason", "usage", "timing"}` each, then `[DONE]`.
    """
    nova.check_model(body.model)
    prompts, sampling = body.prompts(), body.sampling(nova.settings)
    if len(prompts) > nova.settings.max_prompts:
        raise InputError(f"prompt: at most {nova.settings.max_prompts} at once, not {len(prompts)}")
    if body.stream:
        return EventStream(lambda emit: _stream(nova, prompts, sampling, emit))
    try:
        async with WhileConnected(request.receive):
            outputs = await _whole(nova, prompts, sampling)
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return JSONResponse({"model": nova.settings.model, "outputs": outputs})


async def _whole(nova: Nova, prompts: list[Prompt], sampling: Sampling) -> list[dict[str, Any]]:
    errors: list[VoxloopError] = []

    async def one(index: int, prompt: Prompt, ticket: Ticket) -> dict[str, Any]:
        try:
            text, _, answer = await nova.whole(prompt, sampling, ticket)
        except VoxloopError as error:
            errors.append(error)
            return {"index": index, "text": "", **_failed(error)}
        return {"index": index, "text": text, **_ended(answer)}

    with nova.admission.enter(Lane.BATCH, len(prompts)) as tickets:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(one(index, prompt, ticket))
                for index, (prompt, ticket) in enumerate(zip(prompts, tickets, strict=True))
            ]
    if len(errors) == len(prompts):
        raise errors[0]
    return [task.result() for task in tasks]


async def _stream(nova: Nova, prompts: list[Prompt], sampling: Sampling, emit: Emit) -> None:
    errors: list[VoxloopError] = []
    held: list[bytes] = []  # closing events of failures, until there is something to answer
    begun = False

    async def one(index: int, prompt: Prompt, ticket: Ticket) -> None:
        nonlocal begun
        head = b'data: {"index":%d,"text":' % index

        async def write(text: str | CallDelta) -> None:
            nonlocal begun
            if isinstance(text, str):  # and not a call, which nobody here has asked for
                begun = True
                await emit(head + orjson.dumps(text) + b"}\n\n")

        try:
            closing = _ended(await nova.stream(prompt, sampling, ticket, write))
            begun = True
        except VoxloopError as error:
            errors.append(error)
            closing = _failed(error)
        held.append(event(orjson.dumps({"index": index, **closing})))
        if begun:
            closings = b"".join(held)
            held.clear()
            await emit(closings)

    with nova.admission.enter(Lane.BATCH, len(prompts)) as tickets:
        async with asyncio.TaskGroup() as group:
            for index, (prompt, ticket) in enumerate(zip(prompts, tickets, strict=True)):
                group.create_task(one(index, prompt, ticket))
    if not begun:
        raise errors[0]
    await emit(b"".join(held) + DONE)


def _ended(answer: Answer) -> dict[str, Any]:
    return {
        "finish_reason": answer.finish_reason,
        "usage": {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens},
        "timing": {"ttft_ms": round(answer.ttft_ms, 2), "total_ms": round(answer.total_ms, 2)},
    }


def _failed(error: VoxloopError) -> dict[str, Any]:
    return {
        "finish_reason": "error",
        "error": {"code": error.code, "detail": str(error), "retryable": error.retryable},
    }
