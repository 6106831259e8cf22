"""What aurora sends to its viewers, over a connection that comes back by itself; emotions the other way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

Message = Mapping[str, Any]
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 15.0
HEARTBEAT_S = 10.0


@dataclass(frozen=True)
class Aurora:
    """`url` is its HTTP address; `session` the one to be shown, empty for whoever speaks."""

    url: str = "http://127.0.0.1:8030"
    session: str = ""
    key: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    @property
    def params(self) -> dict[str, str]:
        return {"session": self.session} if self.session else {}


async def watch(aurora: Aurora, take: Callable[[Message], None], report: Callable[[str], None]) -> None:
    """Until it is cancelled. `report` is told once of each loss and each return."""
    wait_s, lost = FIRST_WAIT_S, False
    while True:
        why = "it closed the connection"
        try:
            async with (
                aiohttp.ClientSession(headers=aurora.headers) as client,
                client.ws_connect(
                    f"{aurora.url.rstrip('/')}/aurora/frames", params=aurora.params, heartbeat=HEARTBEAT_S
                ) as socket,
            ):
                wait_s, lost = FIRST_WAIT_S, False
                report(f"connected to {aurora.url}")
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        take(json.loads(message.data))
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError, LookupError) as error:  # noqa: UP041
            why = str(error) or type(error).__name__
        take({"type": "lost"})
        if not lost:
            lost = True
            report(f"no face from {aurora.url}: {why}; trying again")
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


async def feel(aurora: Aurora, emotions: Mapping[str, float]) -> None:
    """Audio2Face's emotions, from 0 to 1, from here on. Raises aiohttp.ClientError and TimeoutError."""
    body = {"emotions": dict(emotions)} | aurora.params
    async with (
        aiohttp.ClientSession(headers=aurora.headers, timeout=aiohttp.ClientTimeout(total=5)) as client,
        client.post(f"{aurora.url.rstrip('/')}/aurora/emotions", json=body) as answer,
    ):
        answer.raise_for_status()
