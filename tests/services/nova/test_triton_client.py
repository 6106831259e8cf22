"""The stream to Triton, in this process, against an engine that does what its prompt says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
import grpc.aio
import pytest

from services.nova.contracts import Deadlines, tensors
from services.nova.triton_client import TritonClient
from shared.errors import PeerRefused, PeerTimeout, PeerUnavailable, SettingsError
from shared.process import free_port
from tests.fixtures.nova import settled, until_running
from tests.fixtures.triton import Triton

FIRST_S, NEXT_S = 1.0, 0.6


@pytest.fixture(scope="module")
async def client(obedient_triton: Triton) -> AsyncIterator[TritonClient]:
    client = TritonClient(obedient_triton.grpc, Deadlines(30, 30, 30))
    yield client
    await client.close()


@pytest.fixture(scope="module")
async def impatient(obedient_triton: Triton) -> AsyncIterator[TritonClient]:
    client = TritonClient(obedient_triton.grpc, Deadlines(FIRST_S, NEXT_S, answer_s=30))
    yield client
    await client.close()


async def words(client: TritonClient, prompt: str, model: str = "nova") -> list[str]:
    inputs = [
        tensors.string("text_input", prompt),
        tensors.string("sampling_parameters", '{"max_tokens": 3}'),
        tensors.flag("stream"),
    ]
    async with aclosing(client.infer_stream(model, inputs, stream=True)) as responses:
        return [tensors.read_string(tensors.outputs(response), "text_output") async for response in responses]


async def test_every_response_of_a_request_comes_in_order(client: TritonClient) -> None:
    assert await words(client, "count") == ["0 ", "1 ", "2 "]


async def test_many_requests_share_the_client(client: TritonClient) -> None:
    answers = await asyncio.gather(*(words(client, f"say {n}|!") for n in range(40)))
    assert answers == [[str(n), "!"] for n in range(40)]


@pytest.mark.parametrize(("prompt", "limit_s"), [("hang", FIRST_S), ("stall", NEXT_S)])
async def test_silence_is_a_timeout_and_ends_the_request(
    impatient: TritonClient, obedient_triton: Triton, prompt: str, limit_s: float
) -> None:
    with pytest.raises(PeerTimeout, match=f"nothing came in {limit_s:g} s"):
        await words(impatient, prompt)
    await settled(obedient_triton)


async def test_a_reader_that_takes_its_time_is_not_taken_for_a_silent_peer(impatient: TritonClient) -> None:
    inputs = [tensors.string("text_input", "say a|b"), tensors.flag("stream")]
    texts = []
    async with aclosing(impatient.infer_stream("nova", inputs, stream=True)) as responses:
        async for response in responses:
            texts.append(tensors.read_string(tensors.outputs(response), "text_output"))
            await asyncio.sleep(FIRST_S + NEXT_S)  # the pause itself is what is tested
    assert texts == ["a", "b"]


async def test_leaving_early_stops_the_engine(client: TritonClient, obedient_triton: Triton) -> None:
    inputs = [tensors.string("text_input", "forever"), tensors.flag("stream")]
    async with aclosing(client.infer_stream("nova", inputs, stream=True)) as responses:
        async for _ in responses:
            break
        await until_running(obedient_triton, 1)
    await settled(obedient_triton)


async def test_our_own_cancellation_remains_one(client: TritonClient, obedient_triton: Triton) -> None:
    task = asyncio.create_task(words(client, "hang"))
    await until_running(obedient_triton, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settled(obedient_triton)


@pytest.mark.parametrize(
    ("prompt", "model", "kind"),
    [("refuse", "nova", PeerRefused), ("full", "nova", PeerUnavailable), ("say a", "gpt-9", PeerRefused)],
)
async def test_errors_of_the_model_say_whether_they_may_pass(
    client: TritonClient, prompt: str, model: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        await words(client, prompt, model)


async def test_the_models_configuration_is_read(client: TritonClient) -> None:
    config = await client.model_config("nova")
    assert config["backend"] == "python"
    with pytest.raises(PeerRefused, match="gpt-9"):
        await client.model_config("gpt-9")


async def test_nobody_there_is_said_at_once() -> None:
    client = TritonClient(f"127.0.0.1:{free_port()}", Deadlines(5, 5, 5))
    try:
        with pytest.raises(PeerUnavailable, match="onnect"):
            await words(client, "say a")
        with pytest.raises(PeerUnavailable):
            await client.model_config("nova")
    finally:
        await client.close()


async def test_a_malformed_address_is_a_bad_setting() -> None:
    with pytest.raises(SettingsError, match="host:port"):
        TritonClient("triton", Deadlines(5, 5, 5))


async def test_a_configuration_that_never_comes_is_asked_for_anew() -> None:
    asked = 0

    async def configuration(_: bytes, __: object) -> bytes:
        nonlocal asked
        asked += 1
        if asked == 1:
            await asyncio.Event().wait()
        return b""

    server = grpc.aio.server()
    methods = {"ModelConfig": grpc.unary_unary_rpc_method_handler(configuration)}  # type: ignore[arg-type]
    handler = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = TritonClient(f"127.0.0.1:{port}", Deadlines(0.2, 0.2, 0.2))
    with pytest.raises(PeerTimeout, match="no configuration"):
        await client.model_config("nova")
    while client._calls:  # noqa: ASYNC110 - the timer that gives the call up tells nobody
        await asyncio.sleep(0.01)
    assert await client.model_config("nova") == {}
    await server.stop(None)
    await client.close()
