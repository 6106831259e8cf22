"""The calls of one reply: who runs each, for how long, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from services.sophia.history import Call, Message, answer_call
from services.sophia.metrics import TOOL_CALLS
from services.sophia.tools import Offer, failure
from shared.errors import VoxloopError

Run = Callable[[Call], Awaitable[str]]

CANCELLED = failure("cancelled: the user went on")


@dataclass(frozen=True, slots=True)
class ToolLimits:
    deadline_s: float
    rounds: int
    """How often one reply may call before it has to do without."""
    max_chars: int
    """Of one output; a longer one is an error."""


NO_TOOLS = Offer()


class ToolUse:
    """`runners` run what is run here; the calls of other tools are the client's, and end the reply."""

    def __init__(self, offer: Offer, runners: Mapping[str, Run], limits: ToolLimits) -> None:
        self.rounds: list[Message] = []
        """What was said and called, answer by answer, for the model to go on from."""
        self.told = False
        """Whether the client knows of the calls that are its own."""
        self._offer = offer
        self._runners = runners
        self._limits = limits
        self._offered = {tool.name for tool in offer.tools}

    @property
    def offer(self) -> Offer:
        """For the next answer: what had to be called has been, and after too many rounds nothing may be."""
        if not self.rounds:
            return self._offer
        may_call = self._may_call and self._offer.choice != "none"
        return Offer(self._offer.tools, "auto" if may_call else "none")

    @property
    def _may_call(self) -> bool:
        return len(self.rounds) < self._limits.rounds

    @property
    def of_client(self) -> tuple[Call, ...]:
        """The calls that are left to the client."""
        if not self.rounds:
            return ()
        calls = self.rounds[-1].calls
        return tuple(call for call in calls if call.output is None and self._is_clients(call))

    def settled(self) -> list[Message]:
        """The rounds as the history keeps them, at any moment: each call has an output, or a client that
        may still bring one. What was said is not in it."""
        return [
            replace(message, content="", calls=tuple(map(self._settled, message.calls)))
            for message in self.rounds
        ]

    def _settled(self, call: Call) -> Call:
        if call.output is not None or (self.told and self._is_clients(call)):
            return call
        return replace(call, output=CANCELLED)

    def _is_clients(self, call: Call) -> bool:
        return call.name in self._offered and call.name not in self._runners

    def answer(self, call_id: str, output: str) -> bool:
        """Whether such a call was waiting."""
        return answer_call(self.rounds, call_id, output)

    async def take(self, said: str, calls: list[Call], released: asyncio.Event) -> bool:
        """Run what is to be run here, once the reply is `released`. Whether the model goes on."""
        if not self._may_call or not self._offered:
            return False
        checked = [self._checked(call) for call in calls]
        self.rounds.append(Message("assistant", said, tuple(checked)))
        await released.wait()
        async with asyncio.TaskGroup() as tasks:
            for call in checked:
                if call.output is None and not self._is_clients(call):
                    tasks.create_task(self._run(call))
        return all(call.output is not None for call in self.rounds[-1].calls)

    def _checked(self, call: Call) -> Call:
        if call.name not in self._offered:
            call = replace(call, output=failure(f"there is no function {call.name!r}"))
        if call.output is not None:
            TOOL_CALLS.labels("malformed").inc()
        elif self._is_clients(call):
            TOOL_CALLS.labels("client").inc()
        return call

    async def _run(self, call: Call) -> None:
        outcome, limits = "cancelled", self._limits
        try:
            async with asyncio.timeout(limits.deadline_s):
                output = await self._runners[call.name](call)
            outcome = "done"
            if len(output) > limits.max_chars:
                outcome, output = "failed", failure(f"the answer has more than {limits.max_chars} characters")
        except TimeoutError:
            outcome, output = "timeout", failure(f"no answer within {limits.deadline_s:g} s")
        except VoxloopError as error:
            outcome, output = "failed", failure(str(error))
        finally:
            TOOL_CALLS.labels(outcome).inc()
        self.answer(call.id, output)
