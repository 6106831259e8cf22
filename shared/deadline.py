"""`asyncio.timeout` for what is awaited many times a second: one slow timer instead of one for each await."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Deadline:
    """`async with Deadline(5.0) as deadline`, and in it, again and again, `with deadline: await …`.

    Raises TimeoutError where one of these takes longer than `seconds`; noticed a quarter later at most.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)
        self._since: float | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._timeout.__aenter__()
        self._look()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, traceback)

    def __enter__(self) -> None:
        self._since = self._loop.time()

    def __exit__(self, *_: object) -> None:
        self._since = None

    def _look(self) -> None:
        now = self._loop.time()
        if self._since is not None and now - self._since >= self._seconds:
            self._timeout.reschedule(now)
        else:
            self._timer = self._loop.call_later(self._seconds / 4, self._look)
