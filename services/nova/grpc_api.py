"""The gRPC service nova.v1, which the voice loop calls: proto/nova/v1/nova.proto."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
import grpc.aio
import orjson
from google.protobuf.message import DecodeError
from pydantic import ValidationError

from services.nova.admission import Lane
from services.nova.contracts import CallDelta, Chat, Message, Prompt, Sampling, ToolCall, Tools
from services.nova.sampling import MAX_MESSAGES, SamplingFields
from services.nova.service import Nova
from services.nova.settings import NovaSettings
from shared import channels
from shared.errors import InputError, Overloaded, VoxloopError
from shared.outgoing import Outgoing
from shared.wire.nova.v1 import nova_pb2, nova_pb2_grpc

NAME = "voxloop.nova.v1.Nova"

_OPTIONAL = ("max_tokens", "temperature", "top_p", "seed")
_ROLES = frozenset({"system", "user", "assistant", "tool"})
_CHOICES = {
    nova_pb2.TOOL_CHOICE_AUTO: "auto",
    nova_pb2.TOOL_CHOICE_NONE: "none",
    nova_pb2.TOOL_CHOICE_REQUIRED: "required",
}

Context = grpc.aio.ServicerContext[nova_pb2.GenerateRequest, nova_pb2.GenerateResponse]


class NovaServicer(nova_pb2_grpc.NovaServicer):
    """An error's status comes with the trailing metadata `voxloop-code` and `voxloop-retryable` (0 or 1)."""

    def __init__(self, nova: Nova) -> None:
        self._nova = nova

    def add_to(self, server: grpc.aio.Server) -> None:
        """As the generated function does it, but for what is no message: gRPC would answer that by itself."""
        method = grpc.unary_stream_rpc_method_handler(
            self.Generate,
            request_deserializer=_parsed,
            response_serializer=nova_pb2.GenerateResponse.SerializeToString,
        )
        describe: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
            self.Describe, response_serializer=nova_pb2.Description.SerializeToString
        )
        methods = {"Generate": method, "Describe": describe}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, methods),))

    async def Describe(self, _: bytes, __: object) -> nova_pb2.Description:  # type: ignore[override]  # noqa: N802
        return nova_pb2.Description(model=self._nova.settings.model, tools=self._nova.carries_tools)

    # Messages are written, not yielded: a cancelled call must not leave a half-closed generator behind.
    async def Generate(  # type: ignore[override]  # noqa: N802
        self, request: nova_pb2.GenerateRequest | None, context: Context
    ) -> None:
        outgoing = Outgoing[nova_pb2.GenerateResponse](context)

        async def write(part: str | CallDelta) -> None:
            await outgoing.write(
                nova_pb2.GenerateResponse(text=part)
                if isinstance(part, str)
                else nova_pb2.GenerateResponse(call=_delta(part))
            )

        try:
            if request is None:
                raise InputError("this is no GenerateRequest")
            lane = Lane.BATCH if request.priority == nova_pb2.PRIORITY_BATCH else Lane.VOICE
            self._nova.check_model(request.model)
            prompt, sampling = _prompt(request), _sampling(request.sampling, self._nova.settings)
            with self._nova.admission.enter(lane, 1) as (ticket,):
                # The call's own deadline cancels this coroutine, as its client does.
                answer = await self._nova.stream(prompt, sampling, ticket, write)
        except VoxloopError as error:
            await _abort(outgoing, error)
        finish = nova_pb2.Finish(
            reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens or 0,
            completion_tokens=answer.completion_tokens or 0,
            ttft_ms=answer.ttft_ms,
            total_ms=answer.total_ms,
        )
        await context.write(nova_pb2.GenerateResponse(finish=finish))


def _parsed(message: bytes) -> nova_pb2.GenerateRequest | None:
    try:
        return nova_pb2.GenerateRequest.FromString(message)
    except DecodeError:
        return None


def _prompt(request: nova_pb2.GenerateRequest) -> Prompt:
    if not 0 < len(request.messages) <= MAX_MESSAGES:
        raise InputError(f"messages: from one to {MAX_MESSAGES}, not {len(request.messages)}")
    for message in request.messages:
        if message.role not in _ROLES:
            raise InputError(f"messages: the role must be one of {', '.join(sorted(_ROLES))}")
    return Chat(tuple(map(_message, request.messages)), _tools(request))


def _message(message: nova_pb2.Message) -> Message:
    calls = tuple(ToolCall(call.id, call.name, call.arguments) for call in message.calls)
    return Message(message.role, message.content, calls, message.call_id)


def _tools(request: nova_pb2.GenerateRequest) -> Tools | None:
    if not request.tools:
        return None
    forced = {"type": "function", "function": {"name": request.tool_name}} if request.tool_name else None
    return Tools(tuple(map(_function, request.tools)), forced or _CHOICES.get(request.tool_choice, "auto"))


def _function(tool: nova_pb2.Tool) -> dict[str, Any]:
    try:
        parameters = orjson.loads(tool.parameters or "{}")
    except orjson.JSONDecodeError:
        raise InputError(f"tools: the parameters of {tool.name[:64]!r} are no JSON") from None
    return {"name": tool.name, "description": tool.description, "parameters": parameters}


def _delta(delta: CallDelta) -> nova_pb2.ToolCallDelta:
    call = nova_pb2.ToolCall(id=delta.id, name=delta.name, arguments=delta.arguments)
    return nova_pb2.ToolCallDelta(index=delta.index, call=call)


def _sampling(wire: nova_pb2.Sampling, settings: NovaSettings) -> Sampling:
    values: dict[str, Any] = {
        name: getattr(wire, name)
        for name in ("max_tokens", "temperature", "top_p", "seed")
        if wire.HasField(name)
    }
    try:
        return SamplingFields(stop=list(wire.stop), **values).sampling(settings)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise InputError(problems) from None


async def _abort(outgoing: Outgoing[nova_pb2.GenerateResponse], error: VoxloopError) -> NoReturn:
    metadata = [("voxloop-code", error.code), ("voxloop-retryable", "1" if error.retryable else "0")]
    if isinstance(error, Overloaded):
        metadata.append(("retry-after", "1"))
    await outgoing.abort(channels.status_of(error), str(error), tuple(metadata))
