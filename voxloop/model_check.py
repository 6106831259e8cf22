"""Load a model in a Triton of its own, ask it one question the way nova would, and say how it went."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil

from embedded.triton import model_file
from services.nova.contracts import Chat, Deadlines, Finish, Message, Piece, Sampling
from services.nova.contracts.triton_model import TritonModel
from services.nova.contracts.vllm import VllmContract
from services.nova.triton_client import TritonClient
from shared.errors import PeerProtocol, PeerUnavailable, StartupError
from shared.process import free_port
from voxloop.stack import BROUGHT_MODEL_READY_S, Unit
from voxloop.supervisor import State, Supervisor

MODEL = "nova"
QUESTION = "What is the capital of France?"
MAX_TOKENS = 64
DEADLINES = Deadlines(first_token_s=60.0, inter_token_s=30.0, answer_s=120.0)
_REASON = "Internal: "
"""How Triton's log introduces what a model says of why it does not load."""


@dataclass(frozen=True)
class Verdict:
    """What one model did on this machine. Rates are of one answer alone, and of what else ran meanwhile."""

    model: str
    kind: str
    chat_template: bool
    question: str
    answer: str
    finish_reason: str
    load_s: float
    """Until the first inference worked, Triton's own start included."""
    first_token_ms: float
    tokens: int
    tokens_per_s: float
    """From the question to the end of the answer."""
    memory_mb: float
    """Proportional share of Triton's and the engine's processes, after the answer."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def check(model: Path, question: str = QUESTION) -> Verdict:
    """Raises StartupError when it does not load, PeerError when it does not answer."""
    found = model_file.read(model)
    with TemporaryDirectory(prefix="voxloop-check-") as folder:
        began = time.monotonic()
        async with _private_triton(found.path, Path(folder)) as (address, pid):
            await _ask(address, "Hello", max_tokens=1)
            load_s = time.monotonic() - began
            answer = await _ask(address, question, MAX_TOKENS)
            memory_mb = _memory_mb(pid)
    if not answer.text.strip():
        raise PeerProtocol(
            "triton", f"{found.path} loads but answers nothing (finish reason {answer.reason})."
        )
    return Verdict(
        model=str(found.path),
        kind=found.kind,
        chat_template=bool(found.chat_template),
        question=question,
        answer=answer.text.strip(),
        finish_reason=answer.reason,
        load_s=round(load_s, 2),
        first_token_ms=round(1000 * answer.first_s, 1),
        tokens=answer.tokens,
        tokens_per_s=round(answer.tokens / answer.total_s, 1),
        memory_mb=round(memory_mb, 1),
    )


@asynccontextmanager
async def _private_triton(model: Path, folder: Path) -> AsyncIterator[tuple[str, int]]:
    """Its gRPC address and its pid, once the model answers."""
    ports = {kind: free_port() for kind in ("HTTP", "GRPC", "METRICS")}
    unit = Unit(
        "triton",
        "embedded.triton",
        {
            "VOXLOOP_MODEL": str(model),
            "VOXLOOP_TRITON_HOST": "127.0.0.1",
            "VOXLOOP_TRITON_MODELS": MODEL,
            "VOXLOOP_TRITON_CACHE": str(folder),
            **{f"VOXLOOP_TRITON_{kind}_PORT": str(port) for kind, port in ports.items()},
        },
        {},
        {},
        lambda: _probe(f"http://127.0.0.1:{ports['HTTP']}"),
        BROUGHT_MODEL_READY_S,
    )
    supervisor = Supervisor(folder, _no_report)
    try:
        try:
            await supervisor.start([unit])
        except StartupError as error:
            reason = _reason(supervisor.log_of(unit.name))
            raise StartupError(f"{model} does not load: {reason or error.message}") from None
        yield f"127.0.0.1:{ports['GRPC']}", supervisor.pid(unit.name)
    finally:
        await supervisor.stop()


def _no_report(unit: str, state: State, detail: str) -> None:
    """One process, started and ended here: nothing that the verdict does not say."""


async def _probe(url: str) -> None:
    """Whether the model is loaded: Triton says so only then, as it loads its models before it is ready."""
    try:
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
            answer = await client.get(f"{url}/v2/models/{MODEL}/ready")
    except httpx.TransportError as error:
        raise PeerUnavailable("triton", f"{url}: {type(error).__name__}") from None
    if not answer.is_success:
        raise PeerUnavailable("triton", f"{url} answered {answer.status_code}")


def _reason(log: Path) -> str:
    """What the model itself said last, without the lines of Triton's log around it."""
    said = [line for line in log.read_text(errors="replace").splitlines() if _REASON in line]
    return said[-1].partition(_REASON)[2].rstrip(' |"') if said else ""


@dataclass
class _Answer:
    text: str = ""
    tokens: int = 0
    reason: str = ""
    first_s: float = 0.0
    total_s: float = 0.0


async def _ask(address: str, question: str, max_tokens: int) -> _Answer:
    """Through nova's own contract, so that the template and the stop tokens are what nova would use."""
    contract = VllmContract(TritonModel(TritonClient(address, DEADLINES), MODEL))
    prompt, sampling = Chat((Message("user", question),)), Sampling(max_tokens, temperature=0.0)
    answer, began = _Answer(), time.monotonic()
    try:
        async with asyncio.timeout(DEADLINES.answer_s):
            async for event in contract.generate(prompt, sampling, stream=True):
                match event:
                    case Piece():
                        answer.first_s = answer.first_s or time.monotonic() - began
                        answer.text += event.text
                        answer.tokens += event.tokens
                    case Finish():
                        answer.reason = event.reason
    except TimeoutError:
        raise PeerUnavailable("triton", f"no whole answer in {DEADLINES.answer_s:g} s") from None
    finally:
        await contract.close()
    answer.total_s = time.monotonic() - began
    return answer


def _memory_mb(pid: int) -> float:
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            full = process.memory_full_info()
        except psutil.Error:  # it ended meanwhile
            continue
        total += getattr(full, "pss", full.uss)
    return total / 1e6
