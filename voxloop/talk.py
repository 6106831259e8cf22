"""`voxloop talk FILE.wav`: a client of /sophia/voice that plays a recording as if somebody spoke it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI

from shared.audio import BYTES_PER_SAMPLE, RATE, duration_s, is_silent, read_wav, write_wav
from shared.errors import AudioError, PeerError, PeerProtocol, PeerRefused, PeerTimeout, PeerUnavailable

PIECE_MS = 20
PIECE = RATE * PIECE_MS // 1000 * BYTES_PER_SAMPLE
VOICED_BELOW_PEAK_DB = 35.0
NOTHING_SAID_S = 8.0
"""After the recording, this long without a word means that none was recognised."""
REPLY_DEADLINE_S = 60.0
FPS = 30.0
CLOSED = 0.05
"""A JawOpen weight below this is a closed mouth."""


@dataclass
class Exchange:
    """What was heard and answered. Times in ms; `frames` are (t_ms, weights) of the last reply."""

    transcript: str = ""
    answer: str = ""
    reply: bytes = b""
    names: Sequence[str] = ()
    frames: list[tuple[float, list[float]]] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    voice_to_voice_ms: float | None = None
    """From the last voiced sample sent to the first sample received."""
    faults: list[str] = field(default_factory=list)

    @property
    def reply_s(self) -> float:
        return duration_s(self.reply)

    def shortcomings(self) -> list[str]:
        """What any stage has not done; empty after a good turn."""
        expected = self.reply_s * FPS
        checks = {
            "no words were recognised": not self.transcript,
            "there is no answer": not self.answer,
            "the reply is silent": is_silent(self.reply),
            f"{len(self.frames)} face frames for {self.reply_s:.2f} s": abs(len(self.frames) - expected) > 1,
            "the mouth does not move": self.frames != [] and self._jaw_peak() < CLOSED,
            "the mouth is open at the end": self.frames != [] and self._jaw(-1) >= CLOSED,
        }
        return [*self.faults, *(text for text, wrong in checks.items() if wrong)]

    def _jaw(self, index: int) -> float:
        return self.frames[index][1][list(self.names).index("JawOpen")]

    def _jaw_peak(self) -> float:
        return max(self._jaw(index) for index in range(len(self.frames)))

    def summary(self) -> dict[str, Any]:
        return {
            "transcript": self.transcript,
            "answer": self.answer,
            "reply_s": round(self.reply_s, 3),
            "frames": len(self.frames),
            "voice_to_voice_ms": self.voice_to_voice_ms,
            "stages": self.stages,
            "faults": self.faults,
        }


def load_question(path: Path) -> bytes:
    """PCM16 at 16 kHz; raises AudioError where nobody could have said anything."""
    pcm = read_wav(path, RATE)
    if is_silent(pcm):
        raise AudioError(f"nothing was said: {path} holds only silence")
    return pcm


def end_of_speech(pcm: bytes) -> int:
    """The byte behind the last voiced sample, by level."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    blocks = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    level = np.sqrt((blocks**2).mean(axis=1))
    voiced = np.flatnonzero(level > level.max() * 10 ** (-VOICED_BELOW_PEAK_DB / 20))
    return int(voiced[-1] + 1) * 160 * BYTES_PER_SAMPLE


async def talk(url: str, pcm: bytes, *, language: str = "en-US", api_key: str = "") -> Exchange:
    """Speak `pcm` (16 kHz) in real time and take the whole reply. Raises PeerError, AudioError."""
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        async with connect(url, additional_headers=headers, proxy=None, max_size=1 << 22) as socket:
            return await _Caller(socket, pcm).run(language)
    except InvalidStatus as error:
        raise PeerRefused("sophia", f"{url} answered {error.response.status_code}") from None
    except InvalidURI:
        raise PeerRefused("sophia", f"{url} is no WebSocket address") from None
    except (OSError, TimeoutError) as error:
        raise PeerUnavailable(
            "sophia", f"nobody answers at {url} ({error})", hint="Is `voxloop up` running?"
        ) from None
    except ConnectionClosed as error:
        raise PeerProtocol("sophia", f"the connection closed in the middle of the turn ({error})") from None


class _Caller:
    def __init__(self, socket: ClientConnection, pcm: bytes) -> None:
        self._socket = socket
        self._pcm = pcm
        self._exchange = Exchange()
        self._speech_ended_at: float | None = None
        self._in_speech = False
        self._turn = 0
        self._finished_turn = 0
        self._heard = False

    async def run(self, language: str) -> Exchange:
        await self._send({"type": "session.start", "language": language, "animation": True})
        listener = asyncio.create_task(self._listen())
        speaker = asyncio.create_task(self._speak())
        try:
            async with asyncio.timeout(len(self._pcm) / (RATE * BYTES_PER_SAMPLE) + REPLY_DEADLINE_S):
                await asyncio.wait([listener, speaker], return_when=asyncio.FIRST_COMPLETED)
            for task in (listener, speaker):
                if task.done():
                    task.result()
        except TimeoutError:
            raise PeerTimeout("sophia", f"no whole reply within {REPLY_DEADLINE_S:g} s") from None
        finally:
            for task in (speaker, listener):
                task.cancel()
            await asyncio.wait([speaker, listener])
        with suppress(ConnectionClosed):
            await self._send({"type": "session.end"})
        return self._exchange

    @property
    def _complete(self) -> bool:
        """The last reply has come whole, and nothing that was said still waits for one."""
        return not self._in_speech and 0 < self._turn == self._finished_turn

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send(orjson.dumps(message).decode())

    async def _speak(self) -> None:
        """The recording in real time, then an open microphone in a quiet room."""
        last_voiced = end_of_speech(self._pcm)
        silence = bytes(PIECE)
        start = time.monotonic()
        said_at: float | None = None
        position = 0
        while said_at is None or not self._complete:
            piece = self._pcm[position : position + PIECE] or silence
            await self._socket.send(piece)
            position += PIECE
            if self._speech_ended_at is None and position >= last_voiced:
                self._speech_ended_at = time.monotonic()
            if position >= len(self._pcm):
                said_at = said_at or time.monotonic()
                if not self._heard and time.monotonic() - said_at > NOTHING_SAID_S:
                    raise AudioError("nothing was said: no words were recognised in the recording")
            await asyncio.sleep(max(0.0, start + position / (RATE * BYTES_PER_SAMPLE) - time.monotonic()))

    async def _listen(self) -> None:
        async for message in self._socket:
            if isinstance(message, bytes):
                self._on_audio(message)
            else:
                self._on_event(orjson.loads(message))
        raise PeerProtocol("sophia", "the connection closed in the middle of the turn")

    def _on_audio(self, pcm: bytes) -> None:
        if not self._exchange.reply and self._speech_ended_at is not None:
            self._exchange.voice_to_voice_ms = round((time.monotonic() - self._speech_ended_at) * 1e3, 1)
        self._exchange.reply += pcm

    def _on_event(self, event: dict[str, Any]) -> None:
        exchange = self._exchange
        match event["type"]:
            case "speech.started":
                self._in_speech = True
            case "speech.stopped":
                self._in_speech = False
            case "transcript.final":
                self._in_speech = False
                self._heard = True
                exchange.transcript = f"{exchange.transcript} {event['text']}".strip()
            case "reply.started":
                self._turn = event["turn"]
                exchange.reply, exchange.answer, exchange.frames = b"", "", []
            case "reply.text":
                exchange.answer += event["text"]
            case "reply.done":
                exchange.answer = event["text"]
            case "animation.header":
                exchange.names = event["names"]
            case "animation":
                exchange.frames.append((event["t_ms"], event["weights"]))
            case "turn.metrics":
                exchange.stages = event["stages"]
                self._finished_turn = event["turn"]
            case "error" if "turn" in event or not event["retryable"]:
                raise PeerError("sophia", f"{event['code']}: {event['message']}")
            case "error":
                exchange.faults.append(f"{event['code']}: {event['message']}")


def save(exchange: Exchange, reply: Path, frames: Path) -> None:
    """The reply as WAV, the face as JSON lines: first the names, then a line for each frame."""
    write_wav(reply, exchange.reply, RATE)
    with frames.open("wb") as lines:
        lines.write(orjson.dumps({"names": exchange.names, "fps": FPS}) + b"\n")
        for t_ms, weights in exchange.frames:
            lines.write(orjson.dumps({"t_ms": t_ms, "weights": weights}) + b"\n")


STAGES = {
    "speech_end_to_final": "end of speech → final transcript",
    "llm_call": "→ first call of a function",
    "tools": "→ first calls answered",
    "llm_first_token": "→ first token of the answer",
    "first_clause": "→ first clause complete",
    "tts_first_audio": "→ first synthesised audio",
    "first_audio_sent": "→ first audio sent",
    "reply_audio": "length of the reply",
}


def show(exchange: Exchange, console: Console) -> None:
    console.print(f"[bold]heard   [/] {exchange.transcript}", highlight=False)
    console.print(f"[bold]answered[/] {exchange.answer}", highlight=False)
    table = Table("stage", "ms", title="where the time went", title_justify="left")
    table.columns[1].justify = "right"
    for stage, duration_ms in exchange.stages.items():
        table.add_row(STAGES.get(stage, stage), f"{duration_ms:.1f}")
    if exchange.voice_to_voice_ms is not None:
        table.add_section()
        table.add_row(
            "last sound of the question → first sound of the reply", f"{exchange.voice_to_voice_ms:.1f}"
        )
    console.print(table)
    console.print(f"reply {exchange.reply_s:.2f} s, {len(exchange.frames)} face frames", highlight=False)
