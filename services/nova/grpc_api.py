"""The gRPC service nova.v1, which the voice loop calls: proto/nova/v1/nova.proto."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from pydantic import ValidationError

from services.nova.admission import Lane
from services.nova.contracts import Chat, Message, Prompt, Sampling
from services.nova.sampling import MAX_MESSAGES, SamplingFields
from services.nova.service import Nova
from services.nova.settings import NovaSettings
from shared import channels
from shared.errors import InputError, Overloaded, VoxloopError
from shared.outgoing import Outgoing
from shared.wire.nova.v1 import nova_pb2, nova_pb2_grpc

NAME = "voxloop.nova.v1.Nova"

_OPTIONAL = ("max_tokens", "temperature", "top_p", "seed")
_ROLES = frozenset({"system", "user", "assistant"})

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
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, {"Generate": method}),))

    # Messages are written, not yielded: a cancelled call must not leave a half-closed generator behind.
    async def Generate(  # type: ignore[override]  # noqa: N802
        self, request: nova_pb2.GenerateRequest | None, context: Context
    ) -> None:
        outgoing = Outgoing[nova_pb2.GenerateResponse](context)

        async def write(text: str) -> None:
            await outgoing.write(nova_pb2.GenerateResponse(text=text))

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
    return Chat(tuple(Message(message.role, message.content) for message in request.messages))


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
