"""An OpenAI-compatible endpoint that obeys its prompt; its HTTP is made by hand, to break any rule."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

SSE = "content-type: text/event-stream\r\n"
JSON = "content-type: application/json\r\n"


class Endpoint:
    """Commands as those of engines/obedient.py, and `status N` and `raw TEXT` besides."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.running = 0
        self.idle = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.running += 1
        self.idle.clear()
        answer = gone = None
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            self.requests.append((head[0].split()[1], headers, body))
            answer = asyncio.create_task(self.answer(body, writer))
            gone = asyncio.create_task(reader.read())  # ends when the client closes
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answer, gone):
                if task is not None:
                    task.cancel()
            writer.close()
            self.running -= 1
            if not self.running:
                self.idle.set()

    async def answer(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        prompt = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        command, _, rest = prompt.partition(" ")
        if command == "status":
            error = json.dumps({"error": {"message": f"a {rest} it is"}})
            head = f"HTTP/1.1 {rest} X\r\n{JSON}content-length: {len(error)}\r\n\r\n"
            writer.write((head + error).encode())
        elif command == "raw":
            writer.write(rest.encode())
        elif command == "hang":
            await asyncio.Event().wait()
        elif body["stream"]:
            writer.write(f"HTTP/1.1 200 OK\r\n{SSE}transfer-encoding: chunked\r\n\r\n".encode())
            await self.stream(command, rest, body, writer)
        else:
            text = json.dumps(body) if command == "echo" else rest.replace("|", "")
            message = {"text": text} if "prompt" in body else {"message": {"content": text}}
            usage = {"prompt_tokens": 2, "completion_tokens": 3}
            whole = json.dumps({"choices": [message | {"finish_reason": "stop"}], "usage": usage})
            head = f"HTTP/1.1 200 OK\r\n{JSON}content-length: {len(whole.encode())}\r\n\r\n"
            writer.write((head + whole).encode())
        await writer.drain()

    async def stream(
        self, command: str, rest: str, body: dict[str, Any], writer: asyncio.StreamWriter
    ) -> None:
        def event(data: object) -> None:
            line = f"data: {data if isinstance(data, str) else json.dumps(data)}\r\n\r\n".encode()
            writer.write(b"%x\r\n%b\r\n" % (len(line), line))

        def piece(text: str, reason: str | None = None) -> None:
            delta = {"text": text} if "prompt" in body else {"delta": {"content": text}}
            event({"choices": [delta | {"finish_reason": reason}]})

        event({"choices": [{"delta": {"role": "assistant"}, "finish_reason": None}]})
        if command == "nonsense":
            event(rest)
        elif command == "error":
            event({"error": {"message": rest}})
        elif command in {"stall", "cut", "half"}:
            piece("one")
            await writer.drain()
            if command == "stall":
                await asyncio.Event().wait()
            if command == "cut":
                return
        elif command == "endless":
            while True:
                writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                await writer.drain()
        else:
            for text in rest.split("|"):
                piece(text)
                await writer.drain()
            piece("", "length" if command == "long" else "stop")
            event({"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 7}})
            event("[DONE]")
        writer.write(b"0\r\n\r\n")


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[str, Endpoint]]:
    """The base URL, and what was asked."""
    endpoint = Endpoint()
    server = await asyncio.start_server(endpoint.handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/v1", endpoint
    finally:
        server.close()
        async with asyncio.timeout(30):
            if endpoint.running:
                await endpoint.idle.wait()
            await server.wait_closed()
