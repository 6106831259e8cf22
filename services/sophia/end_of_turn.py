"""Whether a final is the end of what somebody had to say: a plug-in point, off by default.

SOPHIA_END_OF_TURN names `module:callable`, an async function of this deployment's own:

    async def is_over(transcript: str, history: list[dict[str, str]]) -> bool: ...

`transcript` is what was said since the last reply, `history` the conversation before, as {"role", "content"}.
True answers it now; False waits for more. It runs on the event loop of all sessions: it must not block.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence

from services.sophia.history import Message
from services.sophia.metrics import END_OF_TURN
from services.sophia.words import words
from shared.errors import SettingsError

log = logging.getLogger(__name__)

SHORT_WORDS = 2
"""A final of no more words is answered at once: "Yeah.", "No thanks." """

Plugin = Callable[[str, list[dict[str, str]]], Awaitable[object]]


class EndOfTurn:
    def __init__(self, plugin: Plugin, deadline_s: float) -> None:
        self._plugin = plugin
        self._deadline_s = deadline_s
        self._told = False

    @classmethod
    def load(cls, name: str, deadline_s: float) -> EndOfTurn | None:
        """None where no plug-in is named. Raises SettingsError where `name` leads to none."""
        return cls(_imported(name), deadline_s) if name else None

    def asks(self, text: str) -> bool:
        return len(words(text)) > SHORT_WORDS

    async def is_over(self, transcript: str, history: Sequence[Message]) -> bool:
        """Also where the plug-in fails, or takes longer than it may: that is counted, and not waited for."""
        before = [{"role": message.role, "content": message.content} for message in history]
        try:
            async with asyncio.timeout(self._deadline_s):
                over = bool(await self._plugin(transcript, before))
        except TimeoutError:
            END_OF_TURN.labels("late").inc()
            return True
        except Exception as error:  # noqa: BLE001 - whatever a plug-in may raise
            END_OF_TURN.labels("failed").inc()
            if not self._told:
                # Without its message, which may hold what was said.
                log.warning("SOPHIA_END_OF_TURN fails with %s, and is ignored then", type(error).__name__)
            self._told = True
            return True
        END_OF_TURN.labels("over" if over else "wait").inc()
        return over


def _imported(name: str) -> Plugin:
    module, _, attribute = name.partition(":")
    try:
        plugin: Plugin = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"SOPHIA_END_OF_TURN: {name!r} cannot be imported ({error})",
            hint="It is module:callable, of a module on PYTHONPATH.",
        ) from None
    if not any(map(inspect.iscoroutinefunction, (plugin, type(plugin).__call__))):
        raise SettingsError(f"SOPHIA_END_OF_TURN: {name!r} is no async function")
    return plugin
