"""Functions that the model calls: sophia and the real nova over a free OpenAI-compatible engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from openai import AsyncOpenAI

from services.nova.app import create_app as nova_app
from services.nova.settings import NovaSettings
from services.sophia.tools import MAX_ARGUMENTS
from tests.services.sophia.conftest import Sophia, served
from tests.services.sophia.engines import Scripted
from tests.services.sophia.test_realtime_ws import talk

Deltas = list[dict[str, Any]]
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def call(arguments: str, name: str = "get_weather", *, said: str = "") -> Deltas:
    """An answer that calls: id and name first, then its arguments, cut anywhere."""
    half = len(arguments) // 2
    said_first = [{"content": said}] if said else []
    opening = {"index": 0, "id": "call_0", "type": "function", "function": {"name": name, "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": part}} for part in (arguments[:half], arguments[half:])]
    return [*said_first, {"tool_calls": [opening]}, *({"tool_calls": [piece]} for piece in pieces)]


def words(text: str) -> Deltas:
    return [{"content": text}]


class Model:
    """Answers with `script`, one by one, and remembers what it was asked."""

    def __init__(self) -> None:
        self.script: list[Deltas] = []
        self.asked: list[dict[str, Any]] = []

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def complete(request: Request) -> Response:
            self.asked.append(await request.json())
            deltas = self.script.pop(0)

            async def events() -> AsyncIterator[str]:
                for delta in deltas:
                    yield f"data: {json.dumps({'choices': [{'delta': delta, 'finish_reason': None}]})}\n\n"
                reason = "tool_calls" if any("tool_calls" in delta for delta in deltas) else "stop"
                yield f"data: {json.dumps({'choices': [{'delta': {}, 'finish_reason': reason}]})}\n\n"
                yield "data: [DONE]\n\n"

            return StreamingResponse(events(), media_type="text/event-stream")

        return app

    def outputs(self, asked: int = -1) -> list[str]:
        """What the model was told of its calls; each must stand behind its call."""
        outputs, waiting = [], []
        for message in self.asked[asked]["messages"]:
            if message["role"] == "tool":
                assert message["tool_call_id"] == waiting.pop(0)
                outputs.append(message["content"])
            else:
                assert not waiting
                waiting = [told["id"] for told in message.get("tool_calls", [])]
        assert not waiting
        return outputs


class Functions:
    """The deployment's own, over HTTP."""

    def __init__(self) -> None:
        self.called: list[Any] = []
        self.begun = asyncio.Event()
        self.gone = asyncio.Event()
        self.answer: Callable[[], Awaitable[Response]] = self.sunny

    async def sunny(self) -> Response:
        return PlainTextResponse("sunny, 21 degrees")

    async def fails(self) -> Response:
        return PlainTextResponse("secret details", 503)

    async def talks(self) -> Response:
        return PlainTextResponse("x" * 10_000_000)

    async def hangs(self) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            self.gone.set()
        raise AssertionError

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/weather")
        async def weather(request: Request) -> Response:
            self.called.append(await request.json())
            self.begun.set()
            answer = asyncio.ensure_future(self.answer())
            left = asyncio.ensure_future(request.receive())  # what follows the body: that the caller left
            await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
            left.cancel()
            answer.cancel()
            await asyncio.wait({answer})
            return Response() if answer.cancelled() else answer.result()

        return app


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done()
        await asyncio.sleep(0.01)  # uvicorn tells nobody that it has started
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def with_model() -> AsyncIterator[tuple[Model, FastAPI, str]]:
    """The real nova over a model, and where its HTTP is."""
    model = Model()
    async with serving(model.app()) as url:
        settings = NovaSettings(
            contract="openai", openai_url=f"{url}/v1", model="nova", grpc_port=0, http_port=0
        )
        nova = nova_app(settings)
        async with serving(nova) as address:
            yield model, nova, address


@pytest.fixture
async def model(engines: Scripted) -> AsyncIterator[Model]:
    """Behind the real nova, which takes the place of the scripted one."""
    async with with_model() as (model, nova, _):
        engines.addresses["nova"] = f"127.0.0.1:{nova.state.grpc_port}"
        yield model


@pytest.fixture
async def functions() -> AsyncIterator[tuple[Functions, str]]:
    functions = Functions()
    async with serving(functions.app()) as url:
        yield functions, url


@asynccontextmanager
async def equipped(engines: Scripted, url: str, folder: Path, **settings: Any) -> AsyncIterator[Sophia]:
    """sophia with a function of its own."""
    file = folder / "tools.json"
    file.write_text(json.dumps([{**WEATHER, "url": f"{url}/weather"}]))
    async with served(engines, tools=file, **settings) as sophia:
        yield sophia


async def test_a_function_is_run_and_its_output_is_answered_from(
    engines: Scripted, model: Model, functions: tuple[Functions, str], tmp_path: Path
) -> None:
    model.script = [call('{"city": "Rome"}', said="Let me see."), words("It is sunny."), words("Bye.")]
    async with equipped(engines, functions[1], tmp_path) as sophia, sophia.session() as client:
        await client.send(type="text", text="How is the weather?")
        assert (await client.until("reply.done", "error"))["text"] == "Let me see. It is sunny."
        await client.send(type="text", text="Thanks.")
        await client.until("interrupted")
        await client.until("reply.done")
    assert functions[0].called == [{"city": "Rome"}]
    assert model.outputs(1) == model.outputs(2) == ["sunny, 21 degrees"]
    assert model.asked[0]["tools"][0]["function"]["name"] == "get_weather"
    assert model.asked[2]["messages"][-1] == {"role": "user", "content": "Thanks."}


@pytest.mark.parametrize(
    ("calls", "answer", "told"),
    [
        (call('{"city": "Ro'), "sunny", "the arguments are no JSON object"),
        (call("[1]"), "sunny", "the arguments are no JSON object"),
        (call('{"city": "' + "x" * MAX_ARGUMENTS + '"}'), "sunny", "the arguments have more than"),
        (call("{}", "launch"), "sunny", "there is no function 'launch'"),
        (call("{}"), "fails", "get_weather: status 503"),
        (call("{}"), "talks", "the answer is too long"),
        (call("{}"), "hangs", "no answer within 0.2 s"),
    ],
    ids=["half", "list", "long", "unknown", "fails", "10 MB", "hangs"],
)
async def test_what_goes_wrong_is_told_to_the_model_and_the_turn_goes_on(
    engines: Scripted,
    model: Model,
    functions: tuple[Functions, str],
    tmp_path: Path,
    calls: Deltas,
    answer: str,
    told: str,
) -> None:
    functions[0].answer = getattr(functions[0], answer)
    model.script = [calls, words("I cannot tell.")]
    async with (
        equipped(engines, functions[1], tmp_path, tool_deadline_s=0.2 if answer == "hangs" else 10) as sophia,
        sophia.session() as client,
    ):
        await client.send(type="text", text="How is the weather?")
        assert (await client.until("reply.done", "error"))["text"] == "I cannot tell."
    (output,) = model.outputs()
    assert told in json.loads(output)["error"]
    assert len(output) < 200
    json.loads(model.asked[-1]["messages"][1]["tool_calls"][0]["function"]["arguments"])


async def test_a_model_that_calls_for_ever_is_stopped(
    engines: Scripted, model: Model, functions: tuple[Functions, str], tmp_path: Path
) -> None:
    model.script = [call("{}") for _ in range(3)] + [words("Well.")]
    async with equipped(engines, functions[1], tmp_path, tool_rounds=3) as sophia, sophia.session() as client:
        await client.send(type="text", text="How is the weather?")
        assert (await client.until("reply.done", "error"))["text"] == "Well."
    assert [asked["tool_choice"] for asked in model.asked] == ["auto", "auto", "auto", "none"]


async def test_a_function_that_runs_while_its_turn_is_ended_is_stopped_and_told_as_cancelled(
    engines: Scripted, model: Model, functions: tuple[Functions, str], tmp_path: Path
) -> None:
    functions[0].answer = functions[0].hangs
    model.script = [call("{}"), words("Fine.")]
    async with equipped(engines, functions[1], tmp_path) as sophia, sophia.session() as client:
        await client.send(type="text", text="How is the weather?")
        await asyncio.wait_for(functions[0].begun.wait(), 30)
        await client.send(type="text", text="Never mind.")
        assert (await client.until("reply.done", "error"))["text"] == "Fine."
        await asyncio.wait_for(functions[0].gone.wait(), 30)
    (output,) = model.outputs()
    assert "cancelled" in output


async def test_an_early_start_calls_nothing_before_the_final_confirms_it(
    engines: Scripted, model: Model, functions: tuple[Functions, str], tmp_path: Path
) -> None:
    model.script = [call('{"city": "Ro"}'), call('{"city": "Rome"}'), words("Sunny.")]
    async with (
        equipped(engines, functions[1], tmp_path, early_start=True) as sophia,
        sophia.session() as client,
    ):
        await client.say(bytes(6400))
        await engines.recognition.opened()
        await engines.recognition.has_received(0.2)
        engines.recognition.interim("weather in ro", stability=1.0)
        async with asyncio.timeout(30):
            while not model.asked:  # noqa: ASYNC110 - the model tells nobody that it was asked
                await asyncio.sleep(0.01)
        engines.recognition.final("weather in rome")
        assert (await client.until("reply.done", "error"))["text"] == "Sunny."
    assert functions[0].called == [{"city": "Rome"}]


async def test_a_voice_client_runs_its_own_functions(engines: Scripted, model: Model) -> None:
    model.script = [call('{"city": "Rome"}'), words("Sunny.")]
    async with served(engines) as sophia, sophia.session(tools=[WEATHER]) as client:
        await client.send(type="text", text="How is the weather?")
        asked = await client.until("tool.call", "error")
        assert (asked["name"], json.loads(asked["arguments"])) == ("get_weather", {"city": "Rome"})
        await client.send(type="tool.result", call_id="other", output="?")
        assert (await client.until("error"))["code"] == "bad_request"
        await client.send(type="tool.result", call_id=asked["call_id"], output="sunny")
        assert (await client.until("reply.done", "error"))["text"] == "Sunny."
    assert model.outputs() == ["sunny"]


async def test_a_realtime_client_is_handed_the_calls_and_goes_on(engines: Scripted, model: Model) -> None:
    model.script = [call('{"city": "Rome"}'), words("Sunny.")]
    async with served(engines) as sophia, talk(sophia) as session:
        told = await session.update(tools=[WEATHER], tool_choice="auto", output_modalities=["text"])
        assert told.tools[0].name == "get_weather"
        await session.ask("How is the weather?")
        (item,) = (await session.until("response.done")).response.output
        assert (item.type, item.name, json.loads(item.arguments)) == (
            "function_call",
            "get_weather",
            {"city": "Rome"},
        )
        deltas = session.of("response.function_call_arguments.delta")
        assert "".join(event.delta for event in deltas) == item.arguments
        assert session.of("response.function_call_arguments.done")[0].call_id == item.call_id
        output = {"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}
        await session.connection.conversation.item.create(item=output)
        await session.connection.response.create()
        done = await session.until("response.done")
        assert done.response.output[0].content[0].text == "Sunny."
    assert model.outputs() == ["sunny"]


async def test_a_client_is_not_handed_a_call_that_nobody_can_read(engines: Scripted, model: Model) -> None:
    model.script = [call('{"city": "Ro'), words("Sorry.")]
    async with served(engines) as sophia, talk(sophia) as session:
        await session.update(tools=[WEATHER], output_modalities=["text"])
        await session.ask("How is the weather?")
        (item,) = (await session.until("response.done")).response.output
    assert item.content[0].text == "Sorry."
    assert "no JSON object" in model.outputs()[0]


async def test_a_call_that_its_client_never_answers_spoils_nothing(engines: Scripted, model: Model) -> None:
    model.script = [call("{}"), words("Hello.")]
    async with served(engines) as sophia, talk(sophia) as session:
        await session.update(tools=[WEATHER], output_modalities=["text"])
        await session.ask("How is the weather?")
        await session.until("response.done")
        await session.ask("Hello?")
        assert (await session.until("response.done")).response.status == "completed"
    (output,) = model.outputs()
    assert "no result yet" in output


async def test_tools_are_refused_at_once_where_nova_cannot_carry_them(engines: Scripted) -> None:
    nova = nova_app(NovaSettings(contract="vllm", grpc_port=0, http_port=0))
    async with serving(nova):
        engines.addresses["nova"] = f"127.0.0.1:{nova.state.grpc_port}"
        async with served(engines) as sophia, talk(sophia) as session:
            await session.connection.session.update(session={"type": "realtime", "tools": [WEATHER]})
            error = (await session.until("error")).error
    assert "a contract that carries none" in error.message
    assert "NOVA_CONTRACT=openai" in error.message


async def test_novas_own_chat_completions_carry_calls_for_openais_client() -> None:
    async with with_model() as (model, _, address):
        model.script = [call('{"city": "Rome"}'), words("Sunny.")]
        function = {key: value for key, value in WEATHER.items() if key != "type"}
        asked: Any = {"model": "nova", "tools": [{"type": "function", "function": function}]}
        messages: list[Any] = [{"role": "user", "content": "How is the weather?"}]
        async with AsyncOpenAI(base_url=f"{address}/v1", api_key="any") as client:
            stream = await client.chat.completions.create(messages=messages, stream=True, **asked)
            chunks = [chunk.choices[0] async for chunk in stream]
            parts = [part for chunk in chunks for part in chunk.delta.tool_calls or ()]
            assert chunks[-1].finish_reason == "tool_calls"
            assert (parts[0].id, parts[0].function and parts[0].function.name) == ("call_0", "get_weather")
            arguments = "".join(part.function.arguments or "" for part in parts if part.function)
            assert json.loads(arguments) == {"city": "Rome"}
            called = {"id": "call_0", "type": "function"}
            called["function"] = {"name": "get_weather", "arguments": arguments}  # type: ignore[assignment]
            messages += [
                {"role": "assistant", "content": None, "tool_calls": [called]},
                {"role": "tool", "tool_call_id": "call_0", "content": "sunny"},
            ]
            stream = await client.chat.completions.create(messages=messages, stream=True, **asked)
            assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Sunny."
    assert model.asked[1]["messages"] == messages
    assert model.outputs() == ["sunny"]
