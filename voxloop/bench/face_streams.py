"""Streams of Audio2Face in real time: sound goes in as a microphone gives it, and each frame is timed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from services.aurora.audio2face import Audio2Face, FaceStream, Frame
from shared.audio import BYTES_PER_SAMPLE, RATE
from shared.channels import Endpoint
from shared.errors import PeerError

STEP_S = 0.04
STEP = int(RATE * STEP_S) * BYTES_PER_SAMPLE
FPS = 30
TIMEOUT_S = 10.0


@dataclass
class Streamed:
    """`lateness_ms`: from the moment at which the sound of a frame's time was spoken to the frame."""

    expected: int
    """Frames that the sound has."""
    lateness_ms: list[float] = field(default_factory=list)
    fault: str = ""


async def stream_many(target: str, count: int, seconds: float, speech: bytes) -> list[Streamed]:
    """`count` streams side by side, each from another place of `speech` (PCM16, 16 kHz, over and over)."""
    audio2face = Audio2Face(
        Endpoint("audio2face", target), write_timeout_s=TIMEOUT_S, frame_timeout_s=TIMEOUT_S
    )
    steps = round(seconds / STEP_S)
    try:
        runs = [_stream(audio2face, number, count, steps, speech) for number in range(count)]
        return list(await asyncio.gather(*runs))
    finally:
        await audio2face.close()


async def _stream(audio2face: Audio2Face, number: int, count: int, steps: int, speech: bytes) -> Streamed:
    out = Streamed(expected=round(steps * STEP_S * FPS))
    await asyncio.sleep(number * STEP_S / count)  # people do not speak in step
    first = number * len(speech) // (count * STEP)
    began_s = time.monotonic()
    try:
        async with audio2face.stream({}) as stream, asyncio.TaskGroup() as tasks:
            tasks.create_task(_speak(stream, first, steps, speech, began_s))
            async for part in stream.parts():
                if isinstance(part, Frame):
                    out.lateness_ms.append(1e3 * (time.monotonic() - began_s - part.t_s))
    except* PeerError as group:
        out.fault = str(group.exceptions[0])
    return out


async def _speak(stream: FaceStream, first: int, steps: int, speech: bytes, began_s: float) -> None:
    whole = len(speech) // STEP
    for step in range(steps):
        await asyncio.sleep(began_s + (step + 1) * STEP_S - time.monotonic())
        at = (first + step) % whole * STEP
        await stream.send(speech[at : at + STEP])
    await stream.end()
