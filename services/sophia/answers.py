"""nova, over nova.v1: the text of an answer as it is generated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import grpc.aio

from services.sophia.context import NO_OUTPUT
from services.sophia.history import Message
from services.sophia.tool_use import NO_TOOLS
from services.sophia.tools import CallDelta, Offer
from shared.channels import Endpoint, explain, open_channel
from shared.errors import InputError, PeerTimeout
from shared.wire.nova.v1 import nova_pb2, nova_pb2_grpc

_CHOICES = {
    "auto": nova_pb2.TOOL_CHOICE_AUTO,
    "none": nova_pb2.TOOL_CHOICE_NONE,
    "required": nova_pb2.TOOL_CHOICE_REQUIRED,
}


class Answers:
    def __init__(
        self, endpoint: Endpoint, model: str, first_token_deadline_s: float, deadline_s: float
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._first_token_deadline_s = first_token_deadline_s
        self._deadline_s = deadline_s
        self._channel = open_channel(endpoint)
        self._stub = nova_pb2_grpc.NovaStub(self._channel)

    async def close(self) -> None:
        await self._channel.close()

    async def probe(self, offer: Offer = NO_TOOLS) -> None:
        """One token, all the way from the engine, which must be able to take what is offered."""
        question = [Message("user", "hello")]
        pieces = self.generate(question, max_tokens=1, temperature=0.0, offer=offer)
        async with aclosing(pieces):
            async for _ in pieces:
                pass

    async def check_tools(self) -> None:
        """Raises InputError where nova's model cannot be offered any, PeerError where nova is not there."""
        try:
            described = await self._stub.Describe(
                nova_pb2.DescribeRequest(),
                timeout=self._first_token_deadline_s,
                metadata=self._endpoint.metadata,
            )
        except grpc.aio.AioRpcError as error:
            raise await explain(self._endpoint, error) from None
        if not described.tools:
            raise InputError(
                f"tools: the model {described.model!r} is reached by a contract that carries none.",
                hint="NOVA_CONTRACT=openai does.",
            )

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        offer: Offer = NO_TOOLS,
        priority: nova_pb2.Priority.ValueType = nova_pb2.PRIORITY_VOICE,
    ) -> AsyncGenerator[str | CallDelta, None]:
        """Pieces of the answer. Raises PeerError; closing it stops the generation in the engine."""
        request = nova_pb2.GenerateRequest(
            messages=[told for message in messages for told in _told(message)],
            sampling=nova_pb2.Sampling(max_tokens=max_tokens, temperature=temperature),
            priority=priority,
            model=self._model,
            tools=[
                nova_pb2.Tool(name=tool.name, description=tool.description, parameters=tool.parameters)
                for tool in offer.tools
            ],
            tool_choice=_CHOICES[offer.choice],
            tool_name=offer.name,
        )
        call = self._stub.Generate(request, timeout=self._deadline_s, metadata=self._endpoint.metadata)
        try:
            async with asyncio.timeout(self._first_token_deadline_s):
                response = await call.read()
            while isinstance(response, nova_pb2.GenerateResponse):  # and not the end of the stream
                if response.text:
                    yield response.text
                elif response.HasField("call"):
                    delta = response.call
                    yield CallDelta(delta.index, delta.call.name, delta.call.arguments)
                response = await call.read()
        except grpc.aio.AioRpcError as error:
            raise await explain(self._endpoint, error) from None
        except TimeoutError:
            raise PeerTimeout("nova", f"no first token within {self._first_token_deadline_s:g} s") from None
        finally:
            call.cancel()


def _told(message: Message) -> list[nova_pb2.Message]:
    """A message, and behind it the outputs of what it calls."""
    calls = [
        nova_pb2.ToolCall(id=call.id, name=call.name, arguments=call.arguments) for call in message.calls
    ]
    outputs = [
        nova_pb2.Message(
            role="tool", content=NO_OUTPUT if call.output is None else call.output, call_id=call.id
        )
        for call in message.calls
    ]
    return [nova_pb2.Message(role=message.role, content=message.content, calls=calls), *outputs]
