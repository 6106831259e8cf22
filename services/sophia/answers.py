"""nova, over nova.v1: the text of an answer as it is generated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import grpc.aio

from services.sophia.history import Message
from shared.channels import Endpoint, explain, open_channel
from shared.errors import PeerTimeout
from shared.wire.nova.v1 import nova_pb2, nova_pb2_grpc


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

    async def probe(self) -> None:
        """One token, all the way from the engine."""
        question = [Message("user", "hello")]
        async with aclosing(self.generate(question, max_tokens=1, temperature=0.0)) as pieces:
            async for _ in pieces:
                pass

    async def generate(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncGenerator[str, None]:
        """Pieces of the answer. Raises PeerError; closing it stops the generation in the engine."""
        request = nova_pb2.GenerateRequest(
            messages=[nova_pb2.Message(role=message.role, content=message.content) for message in messages],
            sampling=nova_pb2.Sampling(max_tokens=max_tokens, temperature=temperature),
            priority=nova_pb2.PRIORITY_VOICE,
            model=self._model,
        )
        call = self._stub.Generate(request, timeout=self._deadline_s, metadata=self._endpoint.metadata)
        try:
            async with asyncio.timeout(self._first_token_deadline_s):
                response = await call.read()
            while isinstance(response, nova_pb2.GenerateResponse):  # and not the end of the stream
                if response.text:
                    yield response.text
                response = await call.read()
        except grpc.aio.AioRpcError as error:
            raise await explain(self._endpoint, error) from None
        except TimeoutError:
            raise PeerTimeout("nova", f"no first token within {self._first_token_deadline_s:g} s") from None
        finally:
            call.cancel()
