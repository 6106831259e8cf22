"""Any OpenAI-compatible endpoint as the upstream: NIM, `vllm serve`, Triton's own OpenAI frontend.

Conversations go to /chat/completions, whose server knows the template; plain text to /completions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, TypeVar

import aiohttp
import orjson
from aiohttp.http_exceptions import ContentEncodingError
from pydantic import SecretStr

from services.nova.contracts import (
    CallDelta,
    Chat,
    Deadlines,
    Finish,
    FinishReason,
    Message,
    Part,
    Piece,
    Prompt,
    Sampling,
)
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

MAX_CALLS = 64
"""Of one answer."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_REASONS: dict[str, FinishReason] = {  # all else is an end
    "length": "length",
    "abort": "cancelled",
    "tool_calls": "tool_calls",
}

T = TypeVar("T")


class OpenAiContract:
    name = "openai"
    peer = PEER
    carries_tools = True

    def __init__(
        self, url: str, model: str, key: SecretStr | None, deadlines: Deadlines, *, connections: int
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise SettingsError(f"the address of {PEER} must begin with http:// or https://, not {url!r}")
        # aiohttp costs the voice a millisecond less for each answer than httpx does.
        self._client = aiohttp.ClientSession(
            headers={"content-type": "application/json"}
            | ({"authorization": f"Bearer {key.get_secret_value()}"} if key else {}),
            timeout=aiohttp.ClientTimeout(total=None),  # every wait below has its own
            connector=aiohttp.TCPConnector(limit=connections),
            trace_configs=[_noting_kept_connections()],
        )
        self._url = url.rstrip("/")
        self._model = model
        self._deadlines = deadlines

    async def generate(
        self, prompt: Prompt, sampling: Sampling, *, stream: bool
    ) -> AsyncGenerator[Part, None]:
        path, body = _request(self._model, prompt, sampling, stream=stream)
        limit_s = self._deadlines.first_token_s if stream else self._deadlines.answer_s
        async with self._post(path, body, limit_s) as response:
            if not stream:
                answer = _json(await _within(limit_s, _all(response)))
                choice = _choice(answer)
                yield Piece(_text(choice, "message"), 0)
                for call in _calls(choice, "message"):
                    yield call
                yield _finish(choice.get("finish_reason"), answer.get("usage"))
                return
            events, reason, usage = _Events(response), None, None
            while (come := await _within(limit_s, events.next())) is not None:
                texts, calls = [], []
                for event in come:
                    if choices := event.get("choices"):
                        choice = _choice({"choices": choices})
                        if text := _text(choice, "delta"):
                            texts.append(text)
                        calls += _calls(choice, "delta")
                        reason = choice.get("finish_reason") or reason
                    usage = event.get("usage") or usage
                if texts:
                    limit_s = self._deadlines.inter_token_s
                    yield Piece("".join(texts), len(texts))
                for call in calls:
                    limit_s = self._deadlines.inter_token_s
                    yield call
            yield _finish(reason, usage)

    async def close(self) -> None:
        await self._client.close()

    @asynccontextmanager
    async def _post(
        self, path: str, body: dict[str, Any], limit_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        response = await _within(limit_s, self._open(path, orjson.dumps(body)))
        try:
            if response.status != HTTPStatus.OK:
                raise _refusal(response.status, await _within(limit_s, _all(response)))
            yield response
        finally:
            response.release()  # which closes the connection of an answer that is not read to its end

    async def _open(self, path: str, body: bytes) -> aiohttp.ClientResponse:
        """Asks again where a connection that was kept turns out to be closed, as any may be by now."""
        while True:
            kept = SimpleNamespace(used=False)
            try:
                return await self._client.post(self._url + path, data=body, trace_request_ctx=kept)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not kept.used:
                    raise


def _noting_kept_connections() -> aiohttp.TraceConfig:
    async def note(_: object, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.used = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(note)
    return trace


class _Events:
    """Server-sent events, as many at once as have come: a fast server is not passed on piecemeal."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        self._buffer = b""
        self._ended = False

    async def next(self) -> list[dict[str, Any]] | None:
        """None after [DONE], or where the stream ends."""
        while not self._ended:
            chunk = await self._content.readany()
            *lines, self._buffer = _bounded(self._buffer + chunk).split(b"\n")
            self._ended = not chunk
            events = []
            for line in lines:
                data = line[5:].strip() if line.startswith(b"data:") else b""
                if data == b"[DONE]":
                    self._ended = True
                    break
                if data:
                    events.append(_json(data))
            if events:
                return events
        return None


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
        body["messages"] = [_message_body(message) for message in prompt.messages]
        if (tools := prompt.tools) is not None:
            body["tools"] = [{"type": "function", "function": function} for function in tools.functions]
            body["tool_choice"] = tools.choice
        return "/chat/completions", body
    return "/completions", body | {"prompt": prompt.text}


def _message_body(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.call_id:
        body["tool_call_id"] = message.call_id
    if message.calls:
        body["content"] = message.content or None
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    return body


async def _within(limit_s: float, awaitable: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(limit_s):
            return await awaitable
    except TimeoutError:
        raise PeerTimeout(PEER, f"nothing came in {limit_s:g} s") from None
    except aiohttp.ClientResponseError as error:
        raise PeerProtocol(PEER, f"an answer that is no HTTP ({error.message[:100]})") from None
    except aiohttp.ClientPayloadError as error:
        # One class for an answer that breaks off and for one that cannot be unpacked.
        kind = PeerProtocol if isinstance(error.__cause__, ContentEncodingError) else PeerUnavailable
        raise kind(PEER, "an answer that breaks off or cannot be unpacked") from None
    except (aiohttp.ClientError, OSError) as error:
        raise PeerUnavailable(PEER, str(error) or type(error).__name__) from None


async def _all(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    while chunk := await response.content.readany():
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


def _calls(choice: dict[str, Any], key: str) -> list[CallDelta]:
    inner = choice.get(key)
    calls = (inner.get("tool_calls") if isinstance(inner, dict) else None) or []
    if not isinstance(calls, list):
        raise PeerProtocol(PEER, "an answer whose tool calls are no list")
    return [_call(call, place) for place, call in enumerate(calls)]


def _call(call: object, place: int) -> CallDelta:
    """A call that says no index, as in an answer that is not streamed, has its place in the list."""
    match call:
        case {"function": dict() as function, **more}:
            index = place if (told := more.get("index")) is None else told
            match (index, more.get("id") or "", function.get("name") or "", function.get("arguments") or ""):
                case (int(), str() as call_id, str() as name, str() as arguments) if 0 <= index < MAX_CALLS:
                    return CallDelta(index, call_id, name, arguments)
    raise PeerProtocol(PEER, "an answer with a malformed tool call")


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
