"""Engines that cost next to nothing and never vary, so that what is left is the loop's own:
`python -m voxloop.bench.loop_engines <folder for its certificate> <Pace as JSON> [<port of Riva>]`.

Riva's recognition and synthesis over TLS, and an OpenAI-compatible model. Recognition goes by the marks in
the sound; the text says for whom and how long, and so reaches the model and the synthesis. Prints its ports,
and for each line read the events since the last, with times of the monotonic clock, which the client shares.
With a port for Riva it reads nothing, and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import orjson
import uvloop
from riva.client.proto import riva_asr_pb2 as asr
from riva.client.proto import riva_asr_pb2_grpc as asr_grpc
from riva.client.proto import riva_tts_pb2 as tts
from riva.client.proto import riva_tts_pb2_grpc as tts_grpc

from shared import tls
from shared.audio import BYTES_PER_SAMPLE, RATE
from shared.process import supervised
from voxloop.bench.loop_marks import MarkReader

INTERIM_AFTER_S = 0.3
"""Of sound, behind the begin of an utterance."""
PIECE_MS = 100
_TEXT = re.compile(r"session (\d+) turn (\d+) for (\d+)")
_CHUNK = BYTES_PER_SAMPLE * RATE * PIECE_MS // 1000

Event = tuple[str, int, int, float]
"""What, session, turn, time in seconds."""


@dataclass(frozen=True)
class Pace:
    """Seconds. `final_s` and `guess_s` (0: none) count in sound behind the end of an utterance: to its final,
    and to a stable interim that says the same. `first_token_s` is what the model thinks for."""

    final_s: float = 0.1
    guess_s: float = 0.0
    first_token_s: float = 0.0


class Events:
    def __init__(self) -> None:
        self.all: list[Event] = []

    def note(self, what: str, session: int, turn: int) -> None:
        self.all.append((what, session, turn, time.monotonic()))

    def of(self, what: str, text: str) -> int:
        """Notes it for the turn that `text` names; gives how long its reply is to be, in ms."""
        found = _TEXT.search(text)
        if found is None:
            return 0
        session, turn, reply_ms = map(int, found.groups())
        self.note(what, session, turn)
        return reply_ms


class Recognition(asr_grpc.RivaSpeechRecognitionServicer):  # type: ignore[misc]
    def __init__(self, events: Events, pace: Pace) -> None:
        self._events = events
        self._pace = pace

    async def StreamingRecognize(  # noqa: N802 - named by the protocol
        self, requests: AsyncIterator[asr.StreamingRecognizeRequest], context: Any
    ) -> None:
        marks = MarkReader()
        heard = 0  # bytes
        due: list[tuple[int, str, bool, tuple[int, int]]] = []
        async for request in requests:
            pcm = request.audio_content
            heard += len(pcm)
            for mark, after in marks.feed(pcm):
                whose = (mark.session, mark.turn)
                if mark.begins:
                    due.append((heard - after + _bytes(INTERIM_AFTER_S), "session", False, whose))
                else:
                    self._events.note("end_heard", *whose)
                    text = f"session {mark.session} turn {mark.turn} for {mark.reply_ms} please"
                    if self._pace.guess_s:
                        due.append((heard - after + _bytes(self._pace.guess_s), text, False, whose))
                    due.append((heard - after + _bytes(self._pace.final_s), text, True, whose))
            while due and due[0][0] <= heard:
                _, text, is_final, whose = due.pop(0)
                self._events.note("final" if is_final else "interim", *whose)
                await context.write(_result(text, is_final=is_final))


def _bytes(seconds: float) -> int:
    return int(seconds * RATE) * BYTES_PER_SAMPLE


def _result(text: str, *, is_final: bool) -> asr.StreamingRecognizeResponse:
    response = asr.StreamingRecognizeResponse()
    result = response.results.add(is_final=is_final, stability=1.0 if is_final else 0.9)
    result.alternatives.add(transcript=text + " ", confidence=0.99)
    return response


class Synthesis(tts_grpc.RivaSpeechSynthesisServicer):  # type: ignore[misc]
    """A tone: as long as the text says, or 200 ms."""

    def __init__(self, events: Events) -> None:
        self._events = events
        wave = np.sin(np.arange(RATE * PIECE_MS // 1000) * (2 * np.pi * 440 / RATE))
        self._tone = (8000 * wave).astype("<i2").tobytes()

    async def SynthesizeOnline(  # noqa: N802 - named by the protocol
        self, requests: AsyncIterator[tts.SynthesizeSpeechRequest], context: Any
    ) -> None:
        async for request in requests:
            length = self._events.of("to_speak", request.text) or 200
            for piece in range(length // PIECE_MS):
                if not piece:
                    self._events.of("spoken", request.text)
                await context.write(tts.SynthesizeSpeechResponse(audio=self._tone[:_CHUNK]))


class Model:
    """Just enough HTTP for a client that streams /v1/chat/completions."""

    def __init__(self, events: Events, first_token_s: float) -> None:
        self._events = events
        self._first_token_s = first_token_s

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                await self._answer(orjson.loads(await reader.readexactly(length)), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        question = body["messages"][-1]["content"]
        self._events.of("asked", question)
        await asyncio.sleep(self._first_token_s)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        whose = question.removesuffix(" please")
        first = f"{whose} it is, and".split(" ")
        writer.write(head + b"".join(_token(word if word == first[0] else " " + word) for word in first))
        self._events.of("answered", question)
        rest = "this is how it goes on.".split(" ")
        writer.write(b"".join(_token(" " + word) for word in rest))
        usage = {"prompt_tokens": 8, "completion_tokens": len(first) + len(rest)}
        end = {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage}
        writer.write(_event(orjson.dumps(end)) + _event(b"[DONE]") + b"0\r\n\r\n")
        await writer.drain()


def _token(text: str) -> bytes:
    return _event(orjson.dumps({"choices": [{"delta": {"content": text}, "finish_reason": None}]}))


def _event(data: bytes) -> bytes:
    line = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(line), line)


async def _main(folder: Path, pace: Pace, port: int = 0) -> None:
    events = Events()
    server = grpc.aio.server()
    asr_grpc.add_RivaSpeechRecognitionServicer_to_server(Recognition(events, pace), server)
    tts_grpc.add_RivaSpeechSynthesisServicer_to_server(Synthesis(events), server)
    files = tls.ensure_certificates(folder)
    pair = (files.key.read_bytes(), files.cert.read_bytes())
    riva = server.add_secure_port(f"localhost:{port}", grpc.ssl_server_credentials([pair]))
    await server.start()
    model = await asyncio.start_server(Model(events, pace.first_token_s).serve, "127.0.0.1", 0)
    print(orjson.dumps({"riva": riva, "model": model.sockets[0].getsockname()[1]}).decode(), flush=True)
    if port:
        await server.wait_for_termination()
    while await asyncio.to_thread(sys.stdin.readline):
        taken, events.all = events.all, []
        print(orjson.dumps(taken).decode(), flush=True)
    await server.stop(0)
    model.close()


if __name__ == "__main__":
    supervised()
    uvloop.run(_main(Path(sys.argv[1]), Pace(**orjson.loads(sys.argv[2])), *map(int, sys.argv[3:])))
