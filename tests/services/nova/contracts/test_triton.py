"""Both of Triton's contracts over the wire, in this process, on an engine that does what its prompt says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from services.nova.contracts import Chat, Contract, Deadlines, Finish, Message, Piece, Sampling, Text
from services.nova.contracts.triton_model import TritonModel
from services.nova.contracts.trtllm import TrtllmContract
from services.nova.contracts.vllm import VllmContract
from services.nova.triton_client import TritonClient
from shared.errors import InputError, PeerProtocol, PeerRefused, PeerUnavailable
from tests.fixtures.nova import settled, until_running
from tests.fixtures.triton import Triton

GREEDY = Sampling(max_tokens=5, temperature=0.0)


@pytest.fixture(scope="module")
async def client(obedient_triton: Triton) -> AsyncIterator[TritonClient]:
    client = TritonClient(obedient_triton.grpc, Deadlines(5, 5, 5))
    yield client
    await client.close()


@pytest.fixture(params=["vllm", "trtllm"])
def contract(request: pytest.FixtureRequest, client: TritonClient) -> Contract:
    if request.param == "vllm":
        return VllmContract(TritonModel(client, "nova"))
    return TrtllmContract(TritonModel(client, "tensorrt_llm"))


@pytest.fixture
def vllm(client: TritonClient) -> Contract:
    return VllmContract(TritonModel(client, "nova"))


@pytest.fixture
def trtllm(client: TritonClient) -> Contract:
    return TrtllmContract(TritonModel(client, "tensorrt_llm"))


async def answer(
    contract: Contract, prompt: str, sampling: Sampling = GREEDY, *, stream: bool = True
) -> tuple[list[str], Finish]:
    texts: list[str] = []
    finish = None
    async with aclosing(contract.generate(Text(prompt), sampling, stream=stream)) as parts:
        async for part in parts:
            if isinstance(part, Piece):
                texts.append(part.text)
            else:
                finish = part
    assert finish is not None
    return texts, finish


async def test_pieces_come_one_by_one_and_then_the_reason_of_the_end(contract: Contract) -> None:
    texts, finish = await answer(contract, "say a|bé|c")
    assert (texts, finish.reason) == (["a", "bé", "c"], "stop")
    texts, finish = await answer(contract, "count")
    assert ("".join(texts), finish.reason) == ("0 1 2 3 4 ", "length")


async def test_a_whole_answer_is_one_piece_without_the_prompt(contract: Contract) -> None:
    texts, finish = await answer(contract, "say a|b|c", stream=False)
    assert (texts, finish.reason) == (["abc"], "stop")


async def test_sampling_parameters_arrive_as_the_engine_knows_them(contract: Contract) -> None:
    sampling = Sampling(max_tokens=7, temperature=0.5, top_p=0.25, seed=2**40)
    texts, _ = await answer(contract, "echo", sampling)
    assert json.loads(texts[0]) == {"max_tokens": 7, "temperature": 0.5, "top_p": 0.25, "seed": 2**40}


async def test_stop_strings_go_to_the_engine_that_takes_them(vllm: Contract, trtllm: Contract) -> None:
    sampling = Sampling(max_tokens=7, temperature=0.5, stop=("END",))
    assert json.loads((await answer(vllm, "echo", sampling))[0][0])["stop"] == ["END"]
    assert "stop" not in json.loads((await answer(trtllm, "echo", sampling))[0][0])


async def test_vllm_counts_tokens_and_trtllm_does_not(vllm: Contract, trtllm: Contract) -> None:
    async with aclosing(vllm.generate(Text("say a|b"), GREEDY, stream=False)) as parts:
        assert [part async for part in parts] == [Piece("ab", 2), Finish("stop", prompt_tokens=2)]
    async with aclosing(trtllm.generate(Text("say a|b"), GREEDY, stream=False)) as parts:
        assert [part async for part in parts] == [Piece("ab", 0), Finish("stop", prompt_tokens=None)]


async def test_a_conversation_goes_through_the_models_template_or_the_plain_one(
    vllm: Contract, trtllm: Contract
) -> None:
    talk = Chat((Message("system", "Be brief."), Message("user", "say yes")))
    async with aclosing(vllm.generate(talk, GREEDY, stream=True)) as parts:
        assert [part.text async for part in parts if isinstance(part, Piece)] == ["yes"]
    question = Chat((Message("user", "say yes"),))
    async with aclosing(trtllm.generate(question, GREEDY, stream=True)) as parts:
        assert [part.text async for part in parts if isinstance(part, Piece)] == ["yes"]


async def test_leaving_stops_the_engine(contract: Contract, obedient_triton: Triton) -> None:
    async with aclosing(contract.generate(Text("forever"), GREEDY, stream=True)) as parts:
        async for _ in parts:
            break
        await until_running(obedient_triton, 1)
    await settled(obedient_triton)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("prompt", "kind", "words"),
    [
        ("long", InputError, "longer than the model's context"),
        ("refuse", PeerRefused, "too hot"),
        ("full", PeerUnavailable, "try again"),
        ("half", PeerProtocol, "ended before the answer did"),
        ("bare", PeerProtocol, "no tensor"),
        ("latin1", PeerProtocol, "not UTF-8"),
        ("reason because", PeerProtocol, "because"),
        ("break", PeerRefused, "broke"),
    ],
)
async def test_what_goes_wrong_has_its_error(
    contract: Contract, prompt: str, kind: type[Exception], words: str, stream: bool
) -> None:
    with pytest.raises(kind, match=words):
        await answer(contract, prompt, stream=stream)


async def test_text_so_far_that_changes_afterwards_is_no_answer(trtllm: Contract) -> None:
    with pytest.raises(PeerProtocol, match="not what it was"):
        await answer(trtllm, "waver")


async def test_an_unfinished_letter_waits_for_its_bytes(trtllm: Contract) -> None:
    texts, _ = await answer(trtllm, "letter")
    assert texts == ["caf", "é"]
