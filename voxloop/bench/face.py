"""The face: how right it is, how late, and whether it is in step with the sound before those who watch.

The embedded Audio2Face and aurora run on one core, the callers and the viewer on another, if there is one.

- `closure_f1_audio`, `closure_f1_chance`, `jaw_r`, `jaw_r_energy`, `cpu_ms_per_s`: from the sound alone, see
  voxloop/bench/face_accuracy.py.
- `closure_…timed…`, `closure_shift_…`, `jaw_r_…timed`: with the times of phones from the TTS, and without,
  see voxloop/bench/face_timed.py.
- `lateness_ms_p50`, `lateness_ms_p95`: one stream of Audio2Face in real time, with sound in pieces of 40 ms
  that each go in when they begin to be heard: from the sound of a frame's time to the frame.
- `sessions_real_time`: of 32 such streams at once, in one process on one core, those of which all came and
  95 % within aurora's buffer for viewers (120 ms); `crowd_cpu_share` of that core.
- `skew_ms_p50`, `skew_ms_p95`: at a viewer (face_viewer.py) of a session of 10 minutes; every second reply
  is interrupted, every fourth hushed: how far from its sound a frame was shown, too early or too late.
- `drift_ms`: the mean of that, signed, in the last tenth of the session less that in the first.
- `mouth_shut_ms_p95`: from an interruption to a neutral mouth at the viewer.
- `shown_share`: frames shown, of those whose sound was heard; `still_turns`: turns of which none was.
- `long_hours`: one turn of that length, its sound as fast as aurora takes it (`long_speed` × real time), the
  same speech over and over. `long_frames_missing`; `long_off_grid_ms`, how far any frame's time was from its
  number ÷ 30; `long_lag_ms`, how much later the last pass through the speech moves the jaw than the first;
  `long_growth_mb`, what engine and aurora hold more at its end than after its first fifth.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, quantiles

import psutil
import uvloop

from services.aurora.settings import AuroraSettings
from services.sophia.face import Face
from services.sophia.riva import Riva
from shared.channels import Endpoint
from shared.process import free_port
from shared.tls import ensure_certificates
from voxloop.bench.cores import on_core
from voxloop.bench.face_accuracy import by_voice, flite_figures, flite_utterances, measure, utterances
from voxloop.bench.face_long import LongTurn, long_turn
from voxloop.bench.face_session import Session, converse
from voxloop.bench.face_streams import FPS, Streamed, stream_many
from voxloop.bench.face_timed import measure_timed
from voxloop.bench.face_voices import Utterance
from voxloop.bench.nova_stack import unit
from voxloop.bench.report import Report, Row
from voxloop.stack import Unit
from voxloop.supervisor import Supervisor

PERCENTS = (50, 95, 99)
REPLY_SENTENCES = 2
SPEECH_DEADLINE_S = 10.0
BUFFER_MS = float(AuroraSettings.model_fields["viewer_buffer_ms"].default)


@dataclass(frozen=True)
class Plan:
    """Lengths in seconds. The defaults take some eighteen minutes."""

    session_s: float = 600
    stream_s: float = 30
    crowd: tuple[int, float] = (32, 20)
    sentences: int | None = None
    """Of those that are spoken, how many are measured; None for all."""
    long_s: float = 5 * 3600


SHORT = Plan(session_s=20, stream_s=6, crowd=(32, 6), sentences=6, long_s=240)
"""A minute."""


@dataclass(frozen=True)
class Stack:
    """Addresses are host:port."""

    riva: Endpoint
    audio2face: str
    aurora: str
    frames_url: str
    engine: psutil.Process
    service: psutil.Process


def run(plan: Plan | None = None, *, short: bool = False) -> Report:
    """Raises StartupError where the services do not start."""
    return uvloop.run(_run(plan or (SHORT if short else Plan())))


async def _run(plan: Plan) -> Report:
    spoken = utterances()[: plan.sentences]
    speech = b"".join(one.pcm for one in spoken)
    foreign = flite_utterances()[: plan.sentences]
    figures: dict[str, float | int | None] = {**measure(spoken), **flite_figures(foreign)}
    voices: list[Row] = by_voice([*spoken, *foreign])
    async with _stack(plan.crowd[0]) as stack:
        alone = await stream_many(stack.audio2face, 1, plan.stream_s, speech)
        crowd, share = await _crowd(stack, *plan.crowd, speech)
        figures |= await _timed(stack, plan.sentences)
        cpu_s = _cpu_s(stack.service)
        session = await converse(stack.aurora, stack.frames_url, plan.session_s, replies(spoken))
        figures["aurora_cpu_ms_per_s"] = round(1e3 * (_cpu_s(stack.service) - cpu_s) / plan.session_s, 2)
        long = await long_turn(stack.aurora, (stack.engine, stack.service), plan.long_s, speech)
    figures |= _lateness(alone[0])
    figures["sessions_real_time"] = sum(map(in_real_time, crowd))
    figures["crowd_cpu_share"] = round(share, 3)
    figures |= session_figures(session)
    figures |= long_figures(long)
    rows: list[Row] = voices + [
        {"streams": len(streams), "whole": sum(not one.fault for one in streams), **_all(streams)}
        for streams in (alone, crowd)
    ]
    notes = [
        (
            f"session: {plan.session_s:g} s, {len(session.sounds)} replies, {len(session.cut)} interrupted, "
            f"{session.hushed} hushed; {session.viewer.late} frames came too late to be shown"
        ),
        (
            f"accuracy: {len(spoken)} sentences of voices of espeak-ng that the face has not heard; closures "
            "within 50 ms, (un)timed ones within 20 ms"
        ),
        *([] if foreign else ["flite is not installed, so its voice could not judge (…_flite)"]),
        *sorted({one.fault for one in crowd if one.fault}),
    ]
    return Report("face", rows, figures, notes)


async def _timed(stack: Stack, sentences: int | None) -> dict[str, float | int | None]:
    """Raises PeerError."""
    riva, face = Riva(stack.riva, SPEECH_DEADLINE_S), Face(Endpoint("aurora", stack.aurora))
    try:
        return await measure_timed(riva, face, sentences)
    finally:
        await riva.close()
        await face.close()


def replies(spoken: Sequence[Utterance]) -> list[bytes]:
    pcm = [one.pcm for one in spoken]
    return [b"".join(pcm[at : at + REPLY_SENTENCES]) for at in range(0, len(pcm), REPLY_SENTENCES)]


async def _crowd(stack: Stack, count: int, seconds: float, speech: bytes) -> tuple[list[Streamed], float]:
    """Also the share of its core that the engine took."""
    before_s = _cpu_s(stack.engine)
    streams = await stream_many(stack.audio2face, count, seconds, speech)
    return streams, (_cpu_s(stack.engine) - before_s) / seconds


def in_real_time(stream: Streamed) -> bool:
    whole = not stream.fault and len(stream.lateness_ms) >= stream.expected
    return whole and _percentile(stream.lateness_ms, 95) <= BUFFER_MS


def _lateness(stream: Streamed) -> dict[str, float | int | None]:
    late = stream.lateness_ms
    return {f"lateness_ms_p{percent}": _percentile(late, percent) if late else None for percent in (50, 95)}


def _all(streams: Sequence[Streamed]) -> Row:
    late = [one for stream in streams for one in stream.lateness_ms]
    return {f"lateness_ms_p{percent}": _percentile(late, percent) if late else None for percent in PERCENTS}


def session_figures(session: Session) -> dict[str, float | int | None]:
    skews = session.skews_ms()
    apart = [abs(skew_ms) for _, skew_ms in skews]
    shut = session.shut_ms()
    heard = sum(session.heard_frames(FPS).values())
    return {
        "skew_ms_p50": _percentile(apart, 50) if apart else None,
        "skew_ms_p95": _percentile(apart, 95) if apart else None,
        "drift_ms": drift_ms([skew_ms for _, skew_ms in skews]),
        "mouth_shut_ms_p95": _percentile(shut, 95) if shut else None,
        "interruptions": len(session.cut),
        "shown_share": round(len(skews) / heard, 4) if heard else None,
        "still_turns": session.still(),
    }


def long_figures(turn: LongTurn) -> dict[str, float | int | None]:
    seconds = turn.expected / FPS
    return {
        "long_hours": round(seconds / 3600, 3),
        "long_speed": round(seconds / turn.wall_s, 1),
        "long_frames_missing": turn.expected - turn.frames,
        "long_off_grid_ms": round(turn.off_grid_ms, 3),
        "long_lag_ms": turn.lag_ms(),
        "long_growth_mb": round(turn.growth_mb(), 1),
    }


def drift_ms(skews: Sequence[float]) -> float | None:
    part = len(skews) // 10
    return round(fmean(skews[-part:]) - fmean(skews[:part]), 2) if part else None


def _percentile(values: Sequence[float], percent: int) -> float:
    if len(values) < 2:
        return round(values[0], 2)
    return round(quantiles(values, n=100, method="inclusive")[percent - 1], 2)


def _cpu_s(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


@asynccontextmanager
async def _stack(streams: int) -> AsyncIterator[Stack]:
    """The embedded Audio2Face and aurora on one core, the embedded Riva and whoever is within on another.
    Raises StartupError."""
    face, face_http, http, grpc, speech = (free_port() for _ in range(5))
    engine = {
        "VOXLOOP_FACE_PORT": str(face),
        "VOXLOOP_FACE_METRICS_PORT": str(face_http),
        "VOXLOOP_FACE_MAX_STREAMS": str(streams + 1),  # /readyz of aurora asks for one
    }
    service = {
        "AURORA_A2F_URI": f"127.0.0.1:{face}",
        "AURORA_HTTP_PORT": str(http),
        "AURORA_GRPC_PORT": str(grpc),
        "AURORA_LOG_LEVEL": "warning",
    }
    with tempfile.TemporaryDirectory() as folder:
        supervisor = Supervisor(Path(folder), lambda *_: None)
        try:
            with on_core(0):
                await supervisor.start(
                    [unit("face", "embedded.face", engine, f"http://127.0.0.1:{face_http}/metrics")]
                )
                await supervisor.start(
                    [unit("aurora", "services.aurora", service, f"http://127.0.0.1:{http}/readyz")]
                )
            with on_core(-1):
                riva = Endpoint("riva", f"127.0.0.1:{speech}", use_tls=True, ca=Path(folder) / "ca.pem")
                await supervisor.start([_speech(riva, speech, folder)])
                yield Stack(
                    riva,
                    f"127.0.0.1:{face}",
                    f"127.0.0.1:{grpc}",
                    f"ws://127.0.0.1:{http}/aurora/frames",
                    psutil.Process(supervisor.pid("face")),
                    psutil.Process(supervisor.pid("aurora")),
                )
        finally:
            await supervisor.stop()


def _speech(endpoint: Endpoint, port: int, tls: str) -> Unit:
    async def probe() -> None:
        ensure_certificates(Path(tls))
        riva = Riva(endpoint, SPEECH_DEADLINE_S)
        try:
            await riva.probe()
        finally:
            await riva.close()

    env = {"VOXLOOP_SPEECH_PORT": str(port), "VOXLOOP_SPEECH_TLS": tls}
    return Unit("speech", "embedded.speech", env, {}, {}, probe)
