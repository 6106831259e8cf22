"""nova.v1 over the wire, on an engine that does what its prompt says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc.aio import AioRpcError

from shared.wire.nova.v1 import nova_pb2
from tests.fixtures.nova import NovaService, settled, until_running
from tests.fixtures.triton import Triton

if TYPE_CHECKING:
    from shared.wire.nova.v1.nova_pb2_grpc import NovaAsyncStub as Stub


def question(
    text: str, *, role: str = "user", model: str = "", priority: int = 0, **sampling: object
) -> nova_pb2.GenerateRequest:
    return nova_pb2.GenerateRequest(
        messages=[nova_pb2.Message(role=role, content=text)],
        sampling=nova_pb2.Sampling(**sampling),
        model=model,
        priority=priority,
    )


async def parts(stub: Stub, request: nova_pb2.GenerateRequest) -> list[nova_pb2.GenerateResponse]:
    return [response async for response in stub.Generate(request, timeout=30)]


async def refusal(stub: Stub, request: nova_pb2.GenerateRequest, timeout_s: float = 30) -> AioRpcError:
    with pytest.raises(AioRpcError) as caught:
        async for _ in stub.Generate(request, timeout=timeout_s):
            pass
    return caught.value


async def test_an_answer_is_pieces_and_then_how_it_ended(stub: Stub) -> None:
    *pieces, last = await parts(stub, question("say one |two", max_tokens=9))
    assert [piece.text for piece in pieces] == ["one ", "two"]
    finish = last.finish
    assert (finish.reason, finish.prompt_tokens, finish.completion_tokens) == ("stop", 3, 2)
    assert 0 < finish.ttft_ms <= finish.total_ms


async def test_sampling_is_passed_on(stub: Stub) -> None:
    *pieces, last = await parts(stub, question("count", max_tokens=3))
    assert "".join(piece.text for piece in pieces) == "0 1 2 "
    assert last.finish.reason == "length"
    *pieces, _ = await parts(stub, question("say a|b|c", stop=["bc"]))
    assert "".join(piece.text for piece in pieces) == "a"


@pytest.mark.parametrize(
    ("request_", "status", "code", "retryable"),
    [
        (nova_pb2.GenerateRequest(), "INVALID_ARGUMENT", "bad_request", "0"),
        (question("a", role="wizard"), "INVALID_ARGUMENT", "bad_request", "0"),
        (question("a", max_tokens=0), "INVALID_ARGUMENT", "bad_request", "0"),
        (question("a", temperature=float("nan")), "INVALID_ARGUMENT", "bad_request", "0"),
        (question("a", top_p=-1), "INVALID_ARGUMENT", "bad_request", "0"),
        (question("a", seed=-5), "INVALID_ARGUMENT", "bad_request", "0"),
        (question("a", model="gpt-9"), "INVALID_ARGUMENT", "unknown_model", "0"),
        (question("long"), "INVALID_ARGUMENT", "bad_request", "0"),
        (question("refuse"), "FAILED_PRECONDITION", "peer_refused", "0"),
        (question("half"), "FAILED_PRECONDITION", "peer_protocol", "0"),
        (question("full"), "UNAVAILABLE", "peer_unavailable", "1"),
        (question("hang"), "DEADLINE_EXCEEDED", "peer_timeout", "1"),
    ],
)
async def test_errors_have_a_status_a_code_and_say_whether_to_try_again(
    stub: Stub, request_: nova_pb2.GenerateRequest, status: str, code: str, retryable: str
) -> None:
    error = await refusal(stub, request_)
    assert error.code() is grpc.StatusCode[status]
    assert dict(error.trailing_metadata()) == {"voxloop-code": code, "voxloop-retryable": retryable}


async def test_cancelling_the_call_stops_the_engine(stub: Stub, obedient_triton: Triton) -> None:
    call = stub.Generate(question("forever"), timeout=30)
    first = await call.read()
    assert first.text == "0 "
    await until_running(obedient_triton, 1)
    call.cancel()
    await settled(obedient_triton)


async def test_the_calls_deadline_stops_the_engine(stub: Stub, obedient_triton: Triton) -> None:
    error = await refusal(stub, question("forever"), timeout_s=0.2)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await settled(obedient_triton)


async def test_voice_finds_a_place_where_batches_have_taken_theirs(
    stub: Stub, obedient_nova: NovaService, obedient_triton: Triton
) -> None:
    batch_lane = nova_pb2.PRIORITY_BATCH
    batches = [stub.Generate(question("forever", priority=batch_lane), timeout=30) for _ in range(3)]
    try:
        for batch in batches:
            await batch.read()
        waiting = stub.Generate(question("say late", priority=batch_lane), timeout=30)
        *pieces, _ = await parts(stub, question("say heard"))
        assert [piece.text for piece in pieces] == ["heard"]
        assert obedient_nova.metric("voxloop_nova_waiting", lane="batch") == 1
    finally:
        for batch in batches:
            batch.cancel()
    assert (await waiting.read()).text == "late"
    waiting.cancel()
    await settled(obedient_triton)


async def test_more_than_the_queue_holds_is_refused_with_a_word_when_to_return(
    stub: Stub, obedient_triton: Triton
) -> None:
    # Four places and eight in the queue.
    calls = [stub.Generate(question("forever"), timeout=30) for _ in range(13)]
    try:
        done, _ = await asyncio.wait(
            [asyncio.ensure_future(call.code()) for call in calls], return_when=asyncio.FIRST_COMPLETED
        )
        assert {task.result() for task in done} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        (refused,) = [call for call in calls if call.done()]
        assert dict(await refused.trailing_metadata()) == {
            "voxloop-code": "overloaded",
            "voxloop-retryable": "1",
            "retry-after": "1",
        }
    finally:
        for call in calls:
            call.cancel()
    await settled(obedient_triton)


async def test_what_is_no_message_is_refused_as_any_bad_request(obedient_nova: NovaService) -> None:
    async with grpc.aio.insecure_channel(obedient_nova.grpc) as channel:
        call = channel.unary_stream("/voxloop.nova.v1.Nova/Generate")(b"\x0a\x06\x12\x04\xff\xfe\xfd\xfc")
        with pytest.raises(AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    metadata = dict(caught.value.trailing_metadata())
    assert (metadata["voxloop-code"], metadata["voxloop-retryable"]) == ("bad_request", "0")


async def test_a_request_larger_than_a_body_may_be_is_refused(stub: Stub) -> None:
    error = await refusal(stub, question("x" * (2 << 20)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
