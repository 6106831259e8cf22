"""`/v1/audio/speech` and `/v1/audio/transcriptions` by Riva, as OpenAI's clients expect them."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from services.sophia.connection import SEND_DEADLINE_S, complaint
from services.sophia.dictation import transcribe
from services.sophia.hearing import Heard
from services.sophia.realtime_events import RATE, Language, VoiceName, locale, riva_voice
from services.sophia.riva import MAX_SPEED, MIN_SPEED, Riva
from services.sophia.sentences import Clauses
from services.sophia.settings import SophiaSettings
from shared.audio import BYTES_PER_SAMPLE, WholeSamples, duration_s, read_wav
from shared.errors import AudioError, InputError, Overloaded, PeerProtocol
from shared.openai_errors import OpenAiRoute

MAX_INPUT_CHARS = 4096  # OpenAI's own bound
MAX_JSON_BYTES = 1 << 16
MAX_UPLOAD_BYTES = 1 << 24
MAX_UPLOAD_S = 600.0
FORM_SLACK = 1 << 14
"""What a form holds beside its file."""


class SpeechBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    input: Annotated[str, Field(min_length=1, max_length=MAX_INPUT_CHARS)]
    voice: VoiceName = ""
    response_format: Literal["wav", "pcm"] = "wav"
    speed: Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED)] = 1.0
    stream_format: Literal["audio"] = "audio"
    language: Language = "en-US"
    """Not OpenAI's: their voices hear it in the text."""


class TranscriptionFields(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    language: Language = "en-US"
    response_format: Literal["json", "text", "verbose_json"] = "json"
    stream: Literal["false", "False", ""] = ""


class Sound(StreamingResponse):
    """Streams, and lets the synthesis go at once when its listener goes or takes nothing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def in_time(message: Message) -> None:
            async with asyncio.timeout(SEND_DEADLINE_S):
                await send(message)

        assert isinstance(self.body_iterator, AsyncGenerator)  # noqa: S101 - `speech` gives it one
        async with aclosing(self.body_iterator):
            await super().__call__(scope, receive, in_time)


class Slots:
    """How many requests may occupy Riva at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        if self._taken >= self._limit:
            raise Overloaded(f"all {self._limit} places are taken")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


def router(riva: Riva, settings: SophiaSettings) -> APIRouter:
    router = APIRouter(prefix="/v1/audio", tags=["openai"], route_class=OpenAiRoute)
    slots = Slots(settings.max_sessions)

    @router.post("/speech")
    async def speech(request: Request) -> Response:
        body = _validated(SpeechBody, await _limited(request, MAX_JSON_BYTES).body())
        sound = _speech(riva, slots, body)
        first = await anext(sound)  # so that a refusal has its status
        media_type = "audio/wav" if body.response_format == "wav" else "audio/pcm"
        return Sound(_after(first, sound), media_type=media_type)

    @router.post("/transcriptions")
    async def transcriptions(request: Request) -> Response:
        limited = _limited(request, MAX_UPLOAD_BYTES + FORM_SLACK)
        async with limited.form(max_files=1, max_fields=16, max_part_size=FORM_SLACK) as form:
            named = {name: value for name, value in form.items() if isinstance(value, str)}
            fields = _validated(TranscriptionFields, named)
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise InputError("file: a WAV file is needed")
            data = await file.read()
        with slots.one():
            pcm = await asyncio.to_thread(read_wav, data)
            if duration_s(pcm) > MAX_UPLOAD_S:
                raise AudioError(f"the recording is longer than {MAX_UPLOAD_S:g} s")
            language = locale(fields.language)
            utterances = await transcribe(riva, pcm, language, settings.speech_deadline_s)
        return _transcription(fields, language, duration_s(pcm), utterances)

    return router


async def _speech(riva: Riva, slots: Slots, body: SpeechBody) -> AsyncGenerator[bytes, None]:
    clauses = Clauses()
    texts = [*clauses.feed(body.input), *clauses.flush()]
    if not texts:
        raise InputError("input: holds nothing to speak")
    header = _endless_wav() if body.response_format == "wav" else b""
    has_sound = False
    with slots.one():
        for text in texts:
            whole = WholeSamples()
            voice = riva_voice(body.voice)
            pieces = riva.synthesize(text, locale(body.language), voice, RATE, body.speed)
            async with aclosing(pieces):
                async for piece in pieces:
                    if pcm := whole.feed(piece.pcm):
                        yield header + pcm
                        header, has_sound = b"", True
    if not has_sound:
        raise PeerProtocol("riva", "the synthesis gave no sound")


async def _after(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


def _endless_wav() -> bytes:
    """The header of a WAV stream whose length is not known yet."""
    unknown, width = 0xFFFFFFFF, BYTES_PER_SAMPLE
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE * width, width, width * 8)
    return struct.pack("<4sI4s", b"RIFF", unknown, b"WAVE") + form + struct.pack("<4sI", b"data", unknown)


def _transcription(
    fields: TranscriptionFields, language: str, seconds: float, utterances: list[Heard]
) -> Response:
    text = " ".join(utterance.text for utterance in utterances)
    if fields.response_format == "text":
        return PlainTextResponse(text + "\n")
    usage = {"type": "duration", "seconds": round(seconds, 3)}
    body: dict[str, Any] = {"text": text, "usage": usage}
    if fields.response_format == "verbose_json":
        words = [
            {"word": word.word, "start": word.start_ms / 1e3, "end": word.end_ms / 1e3}
            for utterance in utterances
            for word in utterance.words
        ]
        body |= {"task": "transcribe", "language": language, "duration": round(seconds, 3), "words": words}
    return JSONResponse(body)


def _validated(model: type[Any], data: bytes | dict[str, str]) -> Any:
    try:
        return model.model_validate_json(data) if isinstance(data, bytes) else model.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise InputError(complaint(problems[0])) from None


def _limited(request: Request, limit: int) -> Request:
    """The request, of which no more than `limit` bytes are read."""
    size = 0

    async def receive() -> Message:
        nonlocal size
        message = await request.receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise HTTPException(413, f"the body is larger than {limit} bytes")
        return message

    return Request(request.scope, receive)
