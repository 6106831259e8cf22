"""A recording, recognised from its beginning to its end."""

from __future__ import annotations

import asyncio

import grpc.aio
from riva.client.proto import riva_asr_pb2 as asr

from services.sophia.hearing import Heard, heard
from services.sophia.riva import Listening, RecognizeCall, Riva
from shared.audio import BYTES_PER_SAMPLE, RATE, duration_s
from shared.errors import PeerTimeout

PIECE = RATE // 2 * BYTES_PER_SAMPLE


async def transcribe(riva: Riva, pcm: bytes, language: str, deadline_s: float) -> list[Heard]:
    """The utterances of 16 kHz audio. Raises PeerError; cancelling it stops the recognition.

    Riva may take as long as the recording lasts, and `deadline_s` besides.
    """
    call = riva.recognize()
    try:
        async with asyncio.timeout(duration_s(pcm) + deadline_s), asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(_write(call, riva.configure(Listening(language)), pcm))
            utterances = await _read(call)
            writer.cancel()
    except* grpc.aio.AioRpcError as group:
        error = group.exceptions[0]
        raise await riva.fault(error) from None  # type: ignore[arg-type]
    except* TimeoutError:
        raise PeerTimeout("riva", "the recording was not recognised in time") from None
    finally:
        call.cancel()
    return utterances


async def _read(call: RecognizeCall) -> list[Heard]:
    return [
        heard(result, 0)
        async for response in call
        for result in response.results
        if result.is_final and result.alternatives
    ]


async def _write(call: RecognizeCall, config: asr.StreamingRecognizeRequest, pcm: bytes) -> None:
    try:
        await call.write(config)
        for start in range(0, len(pcm), PIECE):
            await call.write(asr.StreamingRecognizeRequest(audio_content=pcm[start : start + PIECE]))
        await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return  # the reading side has the same error, with its reason
