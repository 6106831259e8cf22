from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
import grpc.aio
import pytest

from shared.verdict import MADE_UP, Verdict


async def refuse(_: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
    await context.read()
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not like this", (("code", "bad_request"),))


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    handlers = {"Refuse": grpc.stream_stream_rpc_method_handler(refuse)}  # type: ignore[arg-type]
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(None)


async def test_a_refusal_keeps_its_status_while_the_client_goes_on_writing(channel: grpc.aio.Channel) -> None:
    for _ in range(100):  # grpc.aio hides it in about every third of such calls
        call = channel.stream_stream("/test.Service/Refuse")()
        verdict = Verdict(call)
        writer = asyncio.create_task(write(call))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        error = await verdict.of(caught.value)
        await writer
        assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "not like this")
        assert ("code", "bad_request") in list(error.trailing_metadata())


async def write(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while True:
            await call.write(b"more")


@pytest.mark.parametrize("status", [(grpc.StatusCode.UNKNOWN, "what?"), MADE_UP])
async def test_where_the_server_said_nothing_the_error_itself_stands(
    channel: grpc.aio.Channel, status: tuple[grpc.StatusCode, str]
) -> None:
    call = channel.stream_stream("/test.Service/Refuse")()
    error = grpc.aio.AioRpcError(status[0], grpc.aio.Metadata(), grpc.aio.Metadata(), status[1])
    assert await Verdict(call).of(error) is error
    call.cancel()
