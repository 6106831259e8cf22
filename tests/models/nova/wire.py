"""How the tests of the model speak to it: tritonclient's bidirectional streams, and Triton's HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import numpy as np
from tritonclient.grpc import InferInput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tests.fixtures.triton import MODEL, Triton

DEADLINE_S = 30
HELLO = "<|user|>Hello<|end|><|assistant|>"
LONG = {"max_tokens": 2000, "temperature": 1, "ignore_eos": True, "seed": 1}
"""Goes on until it is cancelled, or for a second at least."""


def inputs(prompt: str | bytes, sampling: object, **flags: bool) -> list[InferInput]:
    """`sampling` is JSON already where it is text; None leaves the tensor out."""
    values: dict[str, Any] = {"text_input": prompt.encode() if isinstance(prompt, str) else prompt, **flags}
    if sampling is not None:
        text = sampling if isinstance(sampling, str) else json.dumps(sampling)
        values["sampling_parameters"] = text.encode()
    return [_tensor(name, value) for name, value in values.items()]


def _tensor(name: str, value: bytes | bool) -> InferInput:
    kind, dtype = ("BOOL", np.bool_) if isinstance(value, bool) else ("BYTES", np.object_)
    tensor = InferInput(name, [1], kind)
    tensor.set_data_from_numpy(np.array([value], dtype))
    return tensor


async def responses(
    client: InferenceServerClient,
    prompt: str | bytes,
    sampling: object,
    *,
    stream: bool = True,
    **flags: bool,
) -> AsyncIterator[InferResult]:
    """The answers to one request. An error of the model is raised; leaving early cancels the request."""
    request = {"model_name": MODEL, "inputs": inputs(prompt, sampling, stream=stream, **flags)}

    async def requests() -> AsyncIterator[dict[str, Any]]:
        yield request

    call = client.stream_infer(requests())
    try:
        async with asyncio.timeout(DEADLINE_S):
            async for result, error in call:
                if error is not None:
                    raise error
                yield result
    finally:
        call.cancel()


def texts(result: InferResult) -> list[str]:
    return [text.decode() for text in result.as_numpy("text_output")]


async def streamed(client: InferenceServerClient, prompt: str, sampling: object) -> list[str]:
    return ["".join(texts(result)) async for result in responses(client, prompt, sampling)]


async def whole(client: InferenceServerClient, prompt: str, sampling: object) -> str:
    """The answer without streaming, by gRPC, and without the prompt."""
    (text,) = [
        "".join(texts(result))
        async for result in responses(client, prompt, sampling, stream=False, exclude_input_in_output=True)
    ]
    return text


async def refusal(client: InferenceServerClient, prompt: str | bytes, sampling: object, **flags: bool) -> str:
    """The in-band error that the request must get, as `[status] message`."""
    try:
        async for result in responses(client, prompt, sampling, **flags):
            raise AssertionError(f"it answered {texts(result)}")
    except InferenceServerException as error:
        return str(error)
    raise AssertionError("the stream ended without a word")


def post(triton: Triton, body: dict[str, object], path: str = "generate") -> httpx.Response:
    return httpx.post(f"{triton.url}/v2/models/{MODEL}/{path}", json=body, timeout=DEADLINE_S)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The data of a stream of server-sent events."""
    return [json.loads(line[5:]) for line in response.text.splitlines() if line.startswith("data:")]


async def eventually(condition: Callable[[], bool]) -> None:
    """Another process's metrics bring no event: they are asked until they say so."""
    async with asyncio.timeout(DEADLINE_S):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)
