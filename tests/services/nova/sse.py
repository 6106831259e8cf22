"""Reading server-sent events as a client does."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import httpx


async def events(response: httpx.Response) -> list[Any]:
    """The data of each event, parsed; the text "[DONE]" as it is."""
    return [
        line if line == "[DONE]" else json.loads(line)
        for line in [line.removeprefix("data: ") async for line in response.aiter_lines() if line]
    ]


def texts(parsed: list[Any]) -> dict[int, str]:
    """The text of each output of a `/nova/generate` stream."""
    joined: dict[int, str] = defaultdict(str)
    for event in parsed:
        if "text" in event:
            joined[event["index"]] += event["text"]
    return dict(joined)
