"""Chromium without a screen, driven over the DevTools protocol: only what the page's tests need."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",  # the microphone is granted without a question
    "--use-fake-device-for-media-stream",
    "--remote-debugging-port=0",
    "--window-size=1280,900",
)
START_DEADLINE_S = 30.0
DEADLINE_S = 20.0
MAX_ANSWER = 1 << 26  # bytes; a screenshot is a long one


def installed() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Page:
    """One tab. `problems` has every error of its console, policy violations among them."""

    browser: Browser
    session: str
    problems: list[str] = field(default_factory=list)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        return await self.browser.call(method, self.session, **params)

    async def evaluate(self, expression: str) -> Any:
        """The value of `expression`, awaited if it is a promise."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until the expression is true, looking at it with every frame of the screen."""
        looking = f"const look = () => ({condition}) ? resolve() : requestAnimationFrame(look); look();"
        try:
            await self.evaluate(f"new Promise((resolve) => {{ {looking} }})")
        except TimeoutError:
            raise AssertionError(f"the page never came to: {condition}") from None

    async def text(self, selector: str) -> str:
        return str(await self.evaluate(f"document.querySelector({selector!r}).textContent"))

    async def click(self, selector: str) -> None:
        """As a hand would, so that it counts as the user's own doing."""
        box = await self.evaluate(
            f"((element) => {{ element.scrollIntoView({{block: 'nearest'}});"
            f"const {{x, y, width, height}} = element.getBoundingClientRect();"
            f"return [x + width / 2, y + height / 2]; }})(document.querySelector({selector!r}))"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1
            )

    async def press(self, key: str, **more: Any) -> None:
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, **more)

    async def type(self, text: str) -> None:
        """Into the text field, and send it with Enter."""
        await self.evaluate("document.querySelector('#text').focus()")
        await self.call("Input.insertText", text=text)
        await self.press("Enter", text="\r", windowsVirtualKeyCode=13)

    def note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(str([argument.get("value") for argument in params["args"]]))


@dataclass
class Browser:
    socket: ClientConnection
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _answers: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _pages: dict[str, Page] = field(default_factory=dict)

    async def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        await self.socket.send(orjson.dumps(message).decode())
        try:
            return await asyncio.wait_for(self._answers[number], DEADLINE_S)
        finally:
            del self._answers[number]

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[Page]:
        """A tab of its own that shows `url`."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Runtime", "Log", "Page"):
            await page.call(f"{domain}.enable")
        await page.call("Page.navigate", url=url)
        try:
            yield page
        finally:
            await self.call("Target.disposeBrowserContext", browserContextId=context)

    async def listen(self) -> None:
        """Take what the browser tells until it ends."""
        with suppress(ConnectionClosed):
            async for raw in self.socket:
                message = orjson.loads(raw)
                if "id" not in message:
                    page = self._pages.get(message.get("sessionId", ""))
                    if page is not None:
                        page.note(message["method"], message["params"])
                elif (answer := self._answers.get(message["id"])) is not None and not answer.done():
                    if "error" in message:
                        answer.set_exception(RuntimeError(message["error"]["message"]))
                    else:
                        answer.set_result(message["result"])


@asynccontextmanager
async def running(executable: str, profile: Path, *flags: str) -> AsyncIterator[Browser]:
    """`profile` is an empty folder of its own. The browser ends with all of its processes."""
    process = await asyncio.create_subprocess_exec(
        executable,
        *FLAGS,
        *flags,
        f"--user-data-dir={profile}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(START_DEADLINE_S):
            while not (line := (await process.stderr.readline()).decode()).startswith("DevTools listening"):
                assert line, "the browser ended before it had begun"
        async with asyncio.TaskGroup() as tasks:
            draining = tasks.create_task(process.stderr.read())
            async with connect(line.split()[-1], proxy=None, max_size=MAX_ANSWER) as socket:
                browser = Browser(socket)
                listening = tasks.create_task(browser.listen())
                yield browser
                listening.cancel()
            draining.cancel()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
