"""Riva's speech recognition service (riva_asr.proto) over the workers of this server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc.aio
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto import riva_asr_pb2_grpc as pb_grpc

from embedded.speech.endpoint import EndpointRule
from embedded.speech.frames import Kind
from embedded.speech.intake import Intake, read_recording
from embedded.speech.listening import Listener, Spoken
from embedded.speech.pool import Pool
from embedded.speech.refusals import guarded, unavailable_model
from embedded.speech.results import Options, Result
from shared.audio import BYTES_PER_SAMPLE, RATE
from shared.errors import InputError, Overloaded
from shared.outgoing import Outgoing

MODEL = "sphinx-en-us"
LANGUAGE = "en-US"
_LANGUAGES = {"", "en", "en-us"}
_MAX_ALTERNATIVES = 10
_OFFLINE_RULE = EndpointRule(stop_history_ms=800)
"""A recording is cut at longer pauses than a conversation: nobody waits for its parts."""
_OFFLINE_CHUNK = BYTES_PER_SAMPLE * RATE  # bytes: a second

Context = grpc.aio.ServicerContext[Any, Any]


class Recognition(pb_grpc.RivaSpeechRecognitionServicer):  # type: ignore[misc]
    def __init__(self, pool: Pool, max_streams: int) -> None:
        self._pool = pool
        self._max_streams = max_streams
        self._streams = 0

    async def GetRivaSpeechRecognitionConfig(  # noqa: N802 - named by the protocol
        self, request: pb.RivaSpeechRecognitionConfigRequest, _: Context
    ) -> pb.RivaSpeechRecognitionConfigResponse:
        response = pb.RivaSpeechRecognitionConfigResponse()
        if request.model_name in ("", MODEL):
            for kind in ("online", "offline"):
                parameters = {
                    "language_code": LANGUAGE,
                    "type": kind,
                    "streaming": str(kind == "online"),
                    "sample_rate": str(RATE),
                    "vad_type": "silero",
                }
                response.model_config.add(model_name=MODEL, parameters=parameters)
        return response

    @guarded
    async def Recognize(self, request: pb.RecognizeRequest, _: Outgoing[Any]) -> pb.RecognizeResponse:  # noqa: N802
        config = request.config
        _check_model(config, "offline")
        pcm = read_recording(
            request.audio, config.encoding, config.sample_rate_hertz, config.audio_channel_count
        )
        with self._stream():
            listener = Listener(self._pool, _OFFLINE_RULE, _options(config, interim=False))
            response = pb.RecognizeResponse(id=request.id)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_listen_to_all(listener, pcm))
                    async for spoken, answer_kind, result in _answers(listener):
                        if answer_kind is not Kind.FINAL:
                            continue
                        answer = response.results.add(channel_tag=1, audio_processed=listener.heard_s)
                        _fill(answer, result, config, spoken.offset_ms)
            finally:
                listener.drop()
            return response

    @guarded
    async def StreamingRecognize(  # noqa: N802
        self, requests: AsyncIterator[pb.StreamingRecognizeRequest], outgoing: Outgoing[Any]
    ) -> None:
        first = await anext(requests, None)
        if first is None:
            return
        if first.WhichOneof("streaming_request") != "streaming_config":
            raise InputError("the first message of a stream must hold streaming_config.")
        config = first.streaming_config.config
        _check_model(config, "online")
        intake = Intake(config.encoding, config.sample_rate_hertz, config.audio_channel_count)
        with self._stream():
            options = _options(config, interim=first.streaming_config.interim_results)
            listener = Listener(self._pool, _rule(config.endpointing_config), options)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_listen(listener, intake, requests))
                    group.create_task(_answer(listener, first, outgoing.write))
            finally:
                listener.drop()

    @contextmanager
    def _stream(self) -> Iterator[None]:
        if self._streams >= self._max_streams:
            raise Overloaded(
                f"{self._streams} recognition streams are open, which is the limit.",
                hint="Try again later, or raise VOXLOOP_SPEECH_MAX_STREAMS.",
            )
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1


def _check_model(config: pb.RecognitionConfig, kind: str) -> None:
    if config.language_code.lower() not in _LANGUAGES or config.model not in ("", MODEL):
        raise unavailable_model(
            language_code=config.language_code,
            model=config.model,
            sample_rate=config.sample_rate_hertz,
            type=kind,
        )


def _options(config: pb.RecognitionConfig, *, interim: bool) -> Options:
    return Options(interim, min(max(1, config.max_alternatives), _MAX_ALTERNATIVES))


def _rule(config: pb.EndpointingConfig) -> EndpointRule:
    """What the client left out, or set to nothing, keeps our default."""
    default = EndpointRule()
    return EndpointRule(
        start_history_ms=config.start_history or default.start_history_ms,
        start_threshold=min(1.0, config.start_threshold or default.start_threshold),
        stop_history_ms=config.stop_history or default.stop_history_ms,
        stop_threshold=min(1.0, config.stop_threshold or default.stop_threshold),
        pause_ms=config.stop_history_eou or default.pause_ms,
    )


async def _listen(
    listener: Listener, intake: Intake, requests: AsyncIterator[pb.StreamingRecognizeRequest]
) -> None:
    async for request in requests:
        if request.WhichOneof("streaming_request") == "streaming_config":
            raise InputError("streaming_config may only be sent once, first.")
        await listener.feed(intake.feed(request.audio_content))
        if request.runtime_config.get("force_eou", "").lower() == "true":
            await listener.end_utterance()
    await listener.feed(intake.finish())
    await listener.finish()


async def _listen_to_all(listener: Listener, pcm: bytes) -> None:
    for at in range(0, len(pcm), _OFFLINE_CHUNK):
        await listener.feed(pcm[at : at + _OFFLINE_CHUNK])
    await listener.finish()


async def _answers(listener: Listener) -> AsyncIterator[tuple[Spoken, Kind, Result]]:
    """Of one utterance after the other; those without a word are left out."""
    while (spoken := await listener.spoken.get()) is not None:
        async for kind, result in spoken.utterance.results():
            if result.text:
                yield spoken, kind, result
        listener.done_with(spoken)


async def _answer(
    listener: Listener, first: pb.StreamingRecognizeRequest, write: Callable[[Any], Any]
) -> None:
    config = first.streaming_config.config
    wants_guess = first.streaming_config.interim_results and config.endpointing_config.stop_history_eou > 0
    async for spoken, kind, result in _answers(listener):
        if kind is Kind.GUESS and not wants_guess:
            continue
        response = pb.StreamingRecognizeResponse(id=first.id)
        answer = response.results.add(
            is_final=kind is Kind.FINAL,
            stability=result.stability if kind is Kind.PARTIAL else 1.0,
            channel_tag=1,
            audio_processed=listener.heard_s,
        )
        _fill(answer, result, config, spoken.offset_ms)
        await write(response)


def _fill(answer: Any, result: Result, config: pb.RecognitionConfig, offset_ms: int) -> None:
    """Transcripts end with a space, as Riva's do: clients join them."""
    best = answer.alternatives.add(
        transcript=result.text + " ", confidence=result.confidence, language_code=[LANGUAGE]
    )
    if config.enable_word_time_offsets:
        for word in result.words:
            best.words.add(
                word=word.text,
                start_time=offset_ms + word.start_ms,
                end_time=offset_ms + word.end_ms,
                confidence=word.confidence,
                language_code=LANGUAGE,
            )
    for other in result.alternatives:
        answer.alternatives.add(transcript=other + " ", language_code=[LANGUAGE])
