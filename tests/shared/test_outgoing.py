"""A status reaches the caller also where the write before it was given up."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest

from shared.outgoing import Outgoing

MORE_THAN_A_CALLER_IS_SENT_UNREAD = bytes(3 << 20)
NARROW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16384)]


async def test_a_status_follows_a_write_that_its_task_gave_up() -> None:
    given_up = asyncio.Event()

    async def handler(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        outgoing = Outgoing[bytes](context)
        writing = asyncio.create_task(outgoing.write(MORE_THAN_A_CALLER_IS_SENT_UNREAD))
        done, _pending = await asyncio.wait({writing}, timeout=0.05)  # time for gRPC to begin
        assert not done
        writing.cancel()
        await asyncio.wait({writing})
        given_up.set()
        await outgoing.abort(grpc.StatusCode.DATA_LOSS, "no more", (("voxloop-code", "gone"),))

    server = grpc.aio.server()
    handlers = {"Call": grpc.unary_stream_rpc_method_handler(handler)}  # type: ignore[arg-type]
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=NARROW) as channel:
            call = channel.unary_stream("/test.Test/Call")(b"", timeout=20)
            async with asyncio.timeout(30):
                await given_up.wait()
            assert await call.read() == MORE_THAN_A_CALLER_IS_SENT_UNREAD
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
    finally:
        await server.stop(None)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.DATA_LOSS, "no more")
    assert dict(caught.value.trailing_metadata())["voxloop-code"] == "gone"
