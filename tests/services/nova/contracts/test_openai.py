"""An OpenAI-compatible upstream over the wire, with faults of every kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from pydantic import SecretStr

from services.nova.contracts import Chat, Deadlines, Finish, Message, Piece, Sampling, Text
from services.nova.contracts.openai import OpenAiContract
from shared.errors import (
    InputError,
    PeerProtocol,
    PeerRefused,
    PeerTimeout,
    PeerUnavailable,
    SettingsError,
)
from shared.process import free_port
from tests.services.nova.openai_endpoint import Endpoint, serving

DEADLINES = Deadlines(first_token_s=0.5, inter_token_s=0.3, answer_s=0.7)
GREEDY = Sampling(max_tokens=5, temperature=0.0)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[tuple[str, Endpoint]]:
    async with serving() as url_and_endpoint:
        yield url_and_endpoint


@pytest.fixture(scope="module")
async def contract(server: tuple[str, Endpoint]) -> AsyncIterator[OpenAiContract]:
    contract = OpenAiContract(server[0], "llama", SecretStr("sesame"), DEADLINES, connections=8)
    yield contract
    await contract.close()


@pytest.fixture
def endpoint(server: tuple[str, Endpoint]) -> Endpoint:
    server[1].requests.clear()
    return server[1]


async def parts(
    contract: OpenAiContract, prompt: str, sampling: Sampling = GREEDY, *, stream: bool = True
) -> list[Piece | Finish]:
    chat = Chat((Message("user", prompt),))
    async with aclosing(contract.generate(chat, sampling, stream=stream)) as generated:
        return [part async for part in generated]


async def test_a_streamed_answer_is_pieces_and_the_usage_that_the_server_tells(
    contract: OpenAiContract, endpoint: Endpoint
) -> None:
    *pieces, finish = await parts(contract, "say a|bé|c")
    texts = [piece for piece in pieces if isinstance(piece, Piece)]  # however many came at once
    assert "".join(piece.text for piece in texts) == "abéc"
    assert sum(piece.tokens for piece in texts) == 3
    assert finish == Finish("stop", prompt_tokens=2, completion_tokens=7)
    ((path, headers, body),) = endpoint.requests
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer sesame"
    assert body == {
        "model": "llama",
        "messages": [{"role": "user", "content": "say a|bé|c"}],
        "max_tokens": 5,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_a_whole_answer_is_one_piece(contract: OpenAiContract) -> None:
    assert await parts(contract, "say a|b", stream=False) == [
        Piece("ab", 0),
        Finish("stop", prompt_tokens=2, completion_tokens=3),
    ]


@pytest.mark.parametrize("stream", [True, False])
async def test_plain_text_is_a_completion_without_a_template(
    contract: OpenAiContract, endpoint: Endpoint, stream: bool
) -> None:
    async with aclosing(contract.generate(Text("say once"), GREEDY, stream=stream)) as generated:
        assert [part.text async for part in generated if isinstance(part, Piece)] == ["once"]
    ((path, _, body),) = endpoint.requests
    assert path == "/v1/completions"
    assert body["prompt"] == "say once"


async def test_sampling_parameters_are_passed_on(contract: OpenAiContract, endpoint: Endpoint) -> None:
    await parts(contract, "say x", Sampling(max_tokens=7, temperature=0.5, top_p=0.9, stop=("END",), seed=3))
    ((_, _, body),) = endpoint.requests
    expected = {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "stop": ["END"], "seed": 3}
    assert body.items() >= expected.items()


async def test_an_answer_that_reached_its_length_says_so(contract: OpenAiContract) -> None:
    assert (await parts(contract, "long a"))[-1] == Finish("length", 2, 7)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("status 400", InputError),
        ("status 401", PeerRefused),
        ("status 404", PeerRefused),
        ("status 429", PeerUnavailable),
        ("status 500", PeerUnavailable),
        ("status 503", PeerUnavailable),
        ("hang", PeerTimeout),
        ("raw nonsense\r\n\r\n", PeerProtocol),
        ("raw HTTP/1.1 200 OK\r\n", PeerUnavailable),
        ("raw HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull", PeerProtocol),
        ("raw HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nnull", PeerUnavailable),
        ("raw HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnull", PeerProtocol),
        ("raw HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", PeerProtocol),
        ('raw HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"choices":[]}', PeerProtocol),
    ],
)
async def test_what_goes_wrong_has_its_error(
    contract: OpenAiContract, prompt: str, kind: type[Exception], stream: bool
) -> None:
    with pytest.raises(kind):
        await parts(contract, prompt, stream=stream)


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("stall", PeerTimeout),
        ("half", PeerProtocol),
        ("cut", PeerUnavailable),
        ("endless", PeerProtocol),
        ("error it broke", PeerRefused),
        ("nonsense no json", PeerProtocol),
        ("nonsense []", PeerProtocol),
        ('nonsense {"choices": [7]}', PeerProtocol),
        ('nonsense {"choices": [{"delta": {"content": 7}}]}', PeerProtocol),
        ('nonsense {"choices": [{"finish_reason": 7}]}', PeerProtocol),
        ('nonsense {"choices": [{"delta": {"tool_calls": 7}}]}', PeerProtocol),
        ('nonsense {"choices": [{"delta": {"tool_calls": [7]}}]}', PeerProtocol),
        ('nonsense {"choices": [{"delta": {"tool_calls": [{"index": -1, "function": {}}]}}]}', PeerProtocol),
        ('nonsense {"choices": [{"delta": {"tool_calls": [{"index": 1e9, "function": {}}]}}]}', PeerProtocol),
        (
            'nonsense {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"name": 7}}]}}]}',
            PeerProtocol,
        ),
    ],
)
async def test_a_stream_that_goes_wrong_has_its_error(
    contract: OpenAiContract, prompt: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        await parts(contract, prompt)


async def test_usage_that_makes_no_sense_is_no_usage(contract: OpenAiContract) -> None:
    chunk = (
        '{"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": "x"}}'
    )
    assert await parts(contract, f"nonsense {chunk}") == [Piece("a", 1), Finish("stop")]


async def test_leaving_closes_the_connection(contract: OpenAiContract, endpoint: Endpoint) -> None:
    chat = Chat((Message("user", "stall"),))
    async with aclosing(contract.generate(chat, GREEDY, stream=True)) as generated:
        async for _ in generated:
            break
    async with asyncio.timeout(30):
        await endpoint.idle.wait()


async def test_nobody_there_is_unavailable() -> None:
    contract = OpenAiContract(f"http://127.0.0.1:{free_port()}/v1", "llama", None, DEADLINES, connections=8)
    with pytest.raises(PeerUnavailable):
        await parts(contract, "say a")
    await contract.close()


def test_a_malformed_address_is_a_bad_setting() -> None:
    with pytest.raises(SettingsError, match="http://"):
        OpenAiContract("127.0.0.1:8000", "llama", None, DEADLINES, connections=8)
