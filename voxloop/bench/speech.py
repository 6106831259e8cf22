"""How well and how fast the embedded speech server understands: real clips and the domain's sentences.

- `wer_clips`: word error rate over the real English clips beside the checkout. They were in view when the
  recogniser's beams and thresholds were chosen, so this is no figure for unseen voices.
- `wer_domain`: over sentences that nova-mini's users say, spoken by flite's voices. Those with made-up words
  are left out (2 of 100). Most short ones also occur in the text that the language model was made of.
- `final_after_end_ms_p50`: from the last voiced sample sent to the last final received, over all clips and
  some of the sentences, streamed one at a time at the pace of a microphone.
- `rtf`: CPU seconds of the server and its workers for each second of sound.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import jiwer
import numpy as np
import psutil
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto import riva_asr_pb2_grpc as pb_grpc

from shared import channels, tls
from shared.audio import BYTES_PER_SAMPLE, RATE, duration_s, read_wav
from shared.errors import PeerError, StartupError
from shared.health import probe_grpc
from shared.process import free_port
from voxloop.bench.report import Report, Row

ROOT = Path(__file__).resolve().parent.parent.parent
CLIPS = ROOT.parent / "shared" / "clips"
SENTENCES = Path(__file__).parent / "domain_sentences.txt"
"""Drawn once from nova-mini's generator, by a seed of their own and without its made-up names."""

VOICES = ("kal16", "rms", "slt", "awb")
PACED_EVERY = 13  # sentences; odd, so that each voice has its turn
AT_ONCE = 2  # streams, as many as the server has workers

PIECE = RATE // 50 * BYTES_PER_SAMPLE  # 20 ms, a usual microphone's
TAIL_S = 2.0  # of room noise after each recording: the speaker is silent and the line stays open
NOISE = 1e-4  # of full scale
VOICED_SHARE = 0.06  # of the loudest 10 ms: what is above counts as voice
START_DEADLINE_S, STREAM_DEADLINE_S = 60.0, 120.0


@dataclass(frozen=True)
class Recording:
    name: str
    kind: str
    text: str
    pcm: bytes

    @property
    def voiced_until_s(self) -> float:
        samples = np.frombuffer(self.pcm, "<i2").astype(np.float64)
        window = RATE // 100
        level = np.sqrt((samples[: len(samples) // window * window].reshape(-1, window) ** 2).mean(axis=1))
        return float((np.flatnonzero(level > VOICED_SHARE * level.max())[-1] + 1) * 0.01)


@dataclass
class Heard:
    texts: list[str] = field(default_factory=list)
    last_final_at: float = 0.0

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def run() -> Report:
    return asyncio.run(_run())


async def _run() -> Report:
    clips, sentences, notes = _clips(), _sentences(), list[str]()
    if not clips:
        notes.append("wer_clips: the real clips lie beside a checkout, in ../shared, and here they do not")
    if not sentences:
        notes.append("wer_domain: needs the program flite")
    async with _server() as (endpoint, process), channels.open_channel(endpoint) as channel:
        stub = pb_grpc.RivaSpeechRecognitionStub(channel)
        before = _cpu_s(process)
        paced = sentences[::PACED_EVERY]
        rows = [await _measure(stub, recording) for recording in (*clips, *paced)]
        rows += await _in_parallel(stub, [sentence for sentence in sentences if sentence not in paced])
        cpu_s = _cpu_s(process) - before
    seconds = sum(row["seconds"] for row in rows)
    finals = [row["final_ms"] for row in rows if row["final_ms"] is not None]
    notes.append(
        f"final_after_end_ms_p50: n={len(finals)}, one stream at a time, stop_history at its default"
    )
    return Report(
        "speech",
        rows,
        {
            "wer_clips": _wer(rows, "clip"),
            "wer_domain": _wer(rows, "domain"),
            "final_after_end_ms_p50": round(median(finals)) if finals else None,
            "final_after_end_ms_p50_clips": _median_ms(rows, "clip"),
            "final_after_end_ms_p50_domain": _median_ms(rows, "domain"),
            "rtf": round(cpu_s / seconds, 3) if seconds else None,
        },
        notes,
    )


def _wer(rows: Sequence[Row], kind: str) -> float | None:
    of_kind = [row for row in rows if row["kind"] == kind]
    if not of_kind:
        return None
    return round(float(jiwer.wer([row["said"] for row in of_kind], [row["heard"] for row in of_kind])), 4)


def _median_ms(rows: Sequence[Row], kind: str) -> int | None:
    finals = [row["final_ms"] for row in rows if row["kind"] == kind and row["final_ms"] is not None]
    return round(median(finals)) if finals else None


def _clips() -> list[Recording]:
    manifest = CLIPS / "manifest.json"
    if not manifest.is_file():
        return []
    return [
        Recording(clip["name"], "clip", clip["norm"], read_wav(CLIPS / f"{clip['name']}.wav"))
        for clip in json.loads(manifest.read_text())
        if clip["lang"] == "en-US"
    ]


def _sentences() -> list[Recording]:
    if shutil.which("flite") is None:
        return []
    return [
        Recording(f"{voice}_{number:02}", "domain", text, _speak(text, voice))
        for number, text in enumerate(SENTENCES.read_text().splitlines())
        for voice in VOICES
    ]


def _speak(text: str, voice: str) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", file.name], check=True)  # noqa: S607
        return bytes(RATE // 3 * BYTES_PER_SAMPLE) + read_wav(Path(file.name))


@asynccontextmanager
async def _server() -> AsyncIterator[tuple[channels.Endpoint, psutil.Process]]:
    with tempfile.TemporaryDirectory() as folder:
        files, port = tls.ensure_certificates(Path(folder)), free_port()
        endpoint = channels.Endpoint("the speech server", f"127.0.0.1:{port}", use_tls=True, ca=files.ca)
        own = {
            "VOXLOOP_SUPERVISED": "1",
            "VOXLOOP_SPEECH_PORT": str(port),
            "VOXLOOP_SPEECH_TLS": folder,
            "VOXLOOP_SPEECH_LOG_LEVEL": "warning",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "embedded.speech", cwd=ROOT, env=os.environ | own
        )
        try:
            await _ready(endpoint, process)
            yield endpoint, psutil.Process(process.pid)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _ready(endpoint: channels.Endpoint, process: asyncio.subprocess.Process) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    async with channels.open_channel(endpoint) as channel:
        while True:
            try:
                return await probe_grpc(endpoint, channel)
            except PeerError:
                if process.returncode is not None or time.monotonic() > deadline:
                    raise StartupError("the speech server did not become ready.") from None
                await asyncio.sleep(0.1)


def _cpu_s(process: psutil.Process) -> float:
    family = (process, *process.children(recursive=True))
    return sum(member.cpu_times().user + member.cpu_times().system for member in family)


async def _in_parallel(stub: pb_grpc.RivaSpeechRecognitionStub, recordings: Sequence[Recording]) -> list[Row]:
    """As fast as the server takes them: only their words count."""
    turnstile = asyncio.Semaphore(AT_ONCE)

    async def one(recording: Recording) -> Row:
        async with turnstile:
            return _row(recording, await _stream(stub, recording, paced=False), None)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(recording)) for recording in recordings]
    return [task.result() for task in tasks]


async def _measure(stub: pb_grpc.RivaSpeechRecognitionStub, recording: Recording) -> Row:
    started = time.perf_counter()
    heard = await _stream(stub, recording, paced=True)
    spoken_at = started + recording.voiced_until_s
    return _row(recording, heard, round(1e3 * (heard.last_final_at - spoken_at)) if heard.texts else None)


def _row(recording: Recording, heard: Heard, final_ms: int | None) -> Row:
    return {
        "name": recording.name,
        "kind": recording.kind,
        "seconds": round(duration_s(recording.pcm), 2),
        "final_ms": final_ms,
        "wer": round(float(jiwer.wer(recording.text, heard.text)), 2),
        "said": recording.text,
        "heard": heard.text,
    }


async def _stream(stub: pb_grpc.RivaSpeechRecognitionStub, recording: Recording, *, paced: bool) -> Heard:
    heard = Heard()
    call = stub.StreamingRecognize(_requests(recording, paced=paced), timeout=STREAM_DEADLINE_S)
    async for response in call:
        for result in response.results:
            if result.is_final:
                heard.texts.append(result.alternatives[0].transcript.strip())
                heard.last_final_at = time.perf_counter()
    return heard


async def _requests(recording: Recording, *, paced: bool) -> AsyncIterator[pb.StreamingRecognizeRequest]:
    """A piece is sent when a microphone would have it, which is when its last sample was heard."""
    config = pb.RecognitionConfig(encoding=1, sample_rate_hertz=RATE, language_code="en-US")
    yield pb.StreamingRecognizeRequest(
        streaming_config=pb.StreamingRecognitionConfig(config=config, interim_results=True)
    )
    noise = np.random.default_rng(0).normal(0, NOISE * 32768, int(TAIL_S * RATE)).astype("<i2").tobytes()
    sound, started = recording.pcm + noise, time.perf_counter()
    for at in range(0, len(sound), PIECE):
        piece = sound[at : at + PIECE]
        if paced:
            await asyncio.sleep(started + duration_s(sound[: at + len(piece)]) - time.perf_counter())
        yield pb.StreamingRecognizeRequest(audio_content=piece)
