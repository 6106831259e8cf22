"""Any OpenAI-compatible endpoint as the upstream: NIM, `vllm serve`, Triton's own OpenAI frontend.

Conversations go to /chat/completions, whose server knows the template; plain text to /completions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import orjson
from pydantic import SecretStr

from services.nova.contracts import Chat, Deadlines, Finish, FinishReason, Piece, Prompt, Sampling
from shared.errors import (
    InputError,
    PeerError,
    PeerProtocol,
    PeerRefused,
    PeerTimeout,
    PeerUnavailable,
    SettingsError,
)

PEER = "openai"

MAX_EVENT = 1 << 20
"""Bytes of one event, or of an answer that is not streamed."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_REASONS: dict[str, FinishReason] = {"length": "length", "abort": "cancelled"}  # all else is an end

T = TypeVar("T")


class OpenAiContract:
    name = "openai"
    peer = PEER

    def __init__(
        self, url: str, model: str, key: SecretStr | None, deadlines: Deadlines, *, connections: int
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise SettingsError(f"the address of {PEER} must begin with http:// or https://, not {url!r}")
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            headers={"authorization": f"Bearer {key.get_secret_value()}"} if key else {},
            timeout=None,  # noqa: S113 - every wait below has its own
            limits=httpx.Limits(max_connections=connections),
        )
        self._model = model
        self._deadlines = deadlines

    async def generate(
        self, prompt: Prompt, sampling: Sampling, *, stream: bool
    ) -> AsyncGenerator[Piece | Finish, None]:
        path, body = _request(self._model, prompt, sampling, stream=stream)
        limit_s = self._deadlines.first_token_s if stream else self._deadlines.answer_s
        async with self._post(path, body, limit_s) as response:
            if not stream:
                answer = _json(await _within(limit_s, _all(response)))
                choice = _choice(answer)
                yield Piece(_text(choice, "message"), 0)
                yield _finish(choice.get("finish_reason"), answer.get("usage"))
                return
            events, reason, usage = _Events(response), None, None
            while (event := await _within(limit_s, events.next())) is not None:
                if choices := event.get("choices"):
                    choice = _choice({"choices": choices})
                    if text := _text(choice, "delta"):
                        limit_s = self._deadlines.inter_token_s
                        yield Piece(text, 1)
                    reason = choice.get("finish_reason") or reason
                usage = event.get("usage") or usage
            yield _finish(reason, usage)

    async def close(self) -> None:
        await self._client.aclose()

    @asynccontextmanager
    async def _post(self, path: str, body: dict[str, Any], limit_s: float) -> AsyncIterator[httpx.Response]:
        request = self._client.build_request(
            "POST", path, content=orjson.dumps(body), headers={"content-type": "application/json"}
        )
        response = await _within(limit_s, self._client.send(request, stream=True))
        try:
            if response.status_code != 200:
                raise _refusal(response.status_code, await _within(limit_s, _all(response)))
            yield response
        finally:
            await response.aclose()


class _Events:
    """Server-sent events, one parsed object at a time."""

    def __init__(self, response: httpx.Response) -> None:
        self._chunks = response.aiter_bytes()
        self._buffer = b""

    async def next(self) -> dict[str, Any] | None:
        """None at [DONE], or where the stream ends."""
        while True:
            line, found, rest = self._buffer.partition(b"\n")
            if found:
                self._buffer = rest
                data = line.strip().removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
                if data == b"[DONE]":
                    return None
                if data:
                    return _json(data)
            else:
                chunk = await anext(self._chunks, None)
                if chunk is None:
                    return None
                self._buffer = _bounded(self._buffer + chunk)


def _request(model: str, prompt: Prompt, sampling: Sampling, *, stream: bool) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    if sampling.top_p is not None:
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if isinstance(prompt, Chat):
        messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
        return "/chat/completions", body | {"messages": messages}
    return "/completions", body | {"prompt": prompt.text}


async def _within(limit_s: float, awaitable: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(limit_s):
            return await awaitable
    except TimeoutError:
        raise PeerTimeout(PEER, f"nothing came in {limit_s:g} s") from None
    except httpx.RemoteProtocolError as error:
        # One class for a server that went away and for one that does not speak HTTP.
        gone = "closed" in str(error) or "disconnected" in str(error)
        raise (PeerUnavailable if gone else PeerProtocol)(PEER, str(error)) from None
    except httpx.DecodingError as error:
        raise PeerProtocol(PEER, str(error)) from None
    except httpx.TransportError as error:
        raise PeerUnavailable(PEER, str(error) or type(error).__name__) from None


async def _all(response: httpx.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_bytes():
        body = _bounded(body + chunk)
    return body


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_EVENT:
        raise PeerProtocol(PEER, f"more than {MAX_EVENT} bytes without an end")
    return data


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise PeerProtocol(PEER, "an answer that is no JSON") from None
    if not isinstance(value, dict):
        raise PeerProtocol(PEER, "an answer that is no JSON object")
    if error := value.get("error"):  # some servers report a failure inside the stream
        raise PeerRefused(PEER, _message(error))
    return value


def _choice(value: dict[str, Any]) -> dict[str, Any]:
    match value.get("choices"):
        case [dict() as choice, *_]:
            return choice
    raise PeerProtocol(PEER, "an answer without choices")


def _text(choice: dict[str, Any], key: str) -> str:
    """`message` or `delta` of a chat, `text` of a completion."""
    inner = choice.get(key)
    text = inner.get("content") if isinstance(inner, dict) else choice.get("text")
    if text is None:
        return ""
    if not isinstance(text, str):
        raise PeerProtocol(PEER, "an answer whose text is none")
    return text


def _finish(reason: object, usage: object) -> Finish:
    if not isinstance(reason, str) or not reason:
        raise PeerProtocol(PEER, "the stream ended before the answer did")
    prompt, completion = (_count(usage, name) for name in ("prompt_tokens", "completion_tokens"))
    return Finish(_REASONS.get(reason, "stop"), prompt, completion)


def _count(usage: object, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else None


def _refusal(status: int, body: bytes) -> InputError | PeerError:
    try:
        message = _message(orjson.loads(body).get("error"))
    except (orjson.JSONDecodeError, AttributeError):
        message = "no details"
    if status in (400, 413, 422):
        return InputError(f"the model refuses this request: {message}")
    if status in (401, 403):
        return PeerRefused(PEER, f"status {status}: {message}", hint="Look at NOVA_OPENAI_API_KEY.")
    return (PeerUnavailable if status in _PASSING else PeerRefused)(PEER, f"status {status}: {message}")


def _message(error: object) -> str:
    message = error.get("message") if isinstance(error, dict) else error
    return str(message)[:500]
