"""Functions that the model may call: what one is, how a call is put together, and what runs it.

Of this deployment's own, SOPHIA_TOOLS tells the names, the JSON Schemas of their arguments, and where each
is served: `POST url` with the arguments as its body, answered with the text that the model is given.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import aiohttp
import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from services.sophia.history import Call
from shared.errors import PeerProtocol, PeerRefused, PeerUnavailable, SettingsError

MAX_TOOLS = 64
MAX_CALLS = 8
"""Of one answer; those beyond are not seen."""
MAX_ARGUMENTS = 4000
"""Characters of one call's arguments."""

ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


@dataclass(frozen=True, slots=True)
class Tool:
    """`parameters` is a JSON Schema, as JSON text."""

    name: str
    description: str
    parameters: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What the model may call, whether it must, and, where `name` is given, which."""

    tools: tuple[Tool, ...] = ()
    choice: Literal["auto", "none", "required"] = "auto"
    name: str = ""

    @property
    def text(self) -> str:
        """About what a chat template makes of it, for its length."""
        return "\n".join(f"{tool.name}{tool.description}{tool.parameters}" for tool in self.tools)


class ToolFields(BaseModel):
    """A function as OpenAI's realtime protocol describes it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Literal["function"]
    name: ToolName
    description: str = ""
    parameters: dict[str, Any] = {}

    def tool(self) -> Tool:
        return Tool(self.name, self.description, orjson.dumps(self.parameters).decode())


class _ServedTool(ToolFields):
    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(pattern=r"^https?://")]


_file: TypeAdapter[list[_ServedTool]] = TypeAdapter(Annotated[list[_ServedTool], Field(max_length=MAX_TOOLS)])


@dataclass(frozen=True, slots=True)
class CallDelta:
    """What is new of the call at `index` of an answer."""

    index: int
    name: str
    arguments: str


class CallParts:
    """The calls of one answer, from what comes of them, in any order."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._arguments: dict[int, str] = {}

    def feed(self, delta: CallDelta) -> None:
        index = delta.index
        if index not in self._names and len(self._names) >= MAX_CALLS:
            return
        self._names[index] = self._names.get(index) or delta.name
        arguments = self._arguments.get(index, "")
        if len(arguments) <= MAX_ARGUMENTS:
            self._arguments[index] = arguments + delta.arguments

    def calls(self) -> list[Call]:
        return [_call(self._names[index], self._arguments[index]) for index in sorted(self._names)]


def _call(name: str, arguments: str) -> Call:
    """A call that cannot be run has its output already. Its arguments are then left out: a chat template
    that unpacks them would refuse the whole conversation for ever."""
    # Not the model's own id: some number each answer's from 0. Mistral's templates demand this form.
    call_id = uuid.uuid4().hex[:9]
    name = name[:64] or "unnamed"
    if len(arguments) > MAX_ARGUMENTS:
        return Call(call_id, name, "{}", failure(f"the arguments have more than {MAX_ARGUMENTS} characters"))
    try:
        if isinstance(orjson.loads(arguments or "{}"), dict):
            return Call(call_id, name, arguments or "{}")
    except orjson.JSONDecodeError:
        pass
    return Call(call_id, name, "{}", failure("the arguments are no JSON object"))


def failure(message: str) -> str:
    """As the model is told of it."""
    return orjson.dumps({"error": message}).decode()


class Toolbox:
    """The functions of this deployment. To be made on the loop that will run it."""

    def __init__(self, path: Path | None, key: SecretStr | None, max_chars: int) -> None:
        """Raises SettingsError."""
        served = read_tools(path) if path is not None else []
        self.tools: Mapping[str, Tool] = {tool.name: tool.tool() for tool in served}
        self._urls = {tool.name: tool.url for tool in served}
        self._max_bytes = max_chars * 4
        self._headers = {"content-type": "application/json"} | (
            {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        )
        # Every wait has its deadline where the call is made.
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))

    async def run(self, call: Call, session_id: str) -> str:
        """What the function answers. Raises PeerError; cancelling it closes the connection."""
        headers = self._headers | {"x-voxloop-session": session_id}
        try:
            async with self._client.post(
                self._urls[call.name], data=call.arguments.encode(), headers=headers, allow_redirects=False
            ) as response:
                if not response.ok or response.status >= 300:
                    raise PeerRefused(call.name, f"status {response.status}")
                return await self._text(call.name, response)
        except (aiohttp.ClientError, OSError) as error:
            raise PeerUnavailable(call.name, f"cannot be reached ({type(error).__name__})") from None

    async def _text(self, name: str, response: aiohttp.ClientResponse) -> str:
        body = b""
        while chunk := await response.content.readany():
            body += chunk
            if len(body) > self._max_bytes:
                raise PeerProtocol(name, "the answer is too long")
        return body.decode(errors="replace")

    async def close(self) -> None:
        await self._client.close()


def read_tools(path: Path) -> list[_ServedTool]:
    """Raises SettingsError, which says where in the file and what."""
    try:
        tools = _file.validate_json(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"SOPHIA_TOOLS: {path} cannot be read ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise SettingsError(f"SOPHIA_TOOLS: {path}, at {place or 'its beginning'}: {first['msg']}") from None
    names = [tool.name for tool in tools]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SettingsError(f"SOPHIA_TOOLS: {path} has more than one {min(twice)!r}")
    return tools
