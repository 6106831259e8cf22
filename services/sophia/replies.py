"""The replies of one session: one at a time, all made in one way, and all ended in one.

A reply belongs to a turn, and nothing of a turn that is over passes: not a token, not a sample, not a
frame. The history keeps of it what was heard.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from services.sophia.early_start import EarlyStarts
from services.sophia.engines import Engines
from services.sophia.events import (
    Error,
    Event,
    Interrupted,
    ReplyPaused,
    ReplyResumed,
    ReplyStarted,
    ToolCall,
)
from services.sophia.history import Call, History, Message, answer_call
from services.sophia.metrics import FAULTS, PAUSES, TURNS
from services.sophia.outbox import Outbox
from services.sophia.session_config import SessionConfig
from services.sophia.settings import SophiaSettings
from services.sophia.stopwatch import Stopwatch
from services.sophia.tool_use import Run, ToolUse
from services.sophia.turn import Reply
from shared.errors import InputError

MAX_UNANSWERED = 64
"""Messages that nobody has asked an answer for; beyond that the oldest goes."""


class Replies:
    def __init__(
        self,
        session_id: str,
        engines: Engines,
        settings: SophiaSettings,
        history: History,
        outbox: Outbox,
        tasks: asyncio.TaskGroup,
        on_over: Callable[[], None],
    ) -> None:
        """`on_over` is called whenever the present reply has ended."""
        self.present: Reply | None = None
        """From its beginning until its listener has heard the end."""
        self.unanswered: deque[Message] = deque(maxlen=MAX_UNANSWERED)
        """What is said, and has no answer yet."""
        self._session_id = session_id
        self._engines = engines
        self._settings = settings
        self._history = history
        self._outbox = outbox
        self._tasks = tasks
        self._on_over = on_over
        self._turn = 0  # the newest that has begun
        self._early = EarlyStarts()
        self._last: tuple[Reply, Message | None] | None = None  # that has ended, and what is kept of it
        self._asked: dict[str, asyncio.Future[str]] = {}  # the client, for the output of a call

    @property
    def answering(self) -> int | None:
        """The turn of the reply that is being made, until all of it is sent."""
        return self.present.turn if self.present is not None and not self.present.all_sent else None

    def add(self, role: str, text: str) -> None:
        """Words for the conversation that ask for no answer yet."""
        self.unanswered.append(Message(role, text))

    # How a reply begins

    def start(self, text: str, stopwatch: Stopwatch, config: SessionConfig) -> None:
        """Answer what is unanswered, and then the user's `text`, where there is any."""
        self._early.drop()
        self._take_in(self._history, text)
        self._begin(self._new(self._history, stopwatch, config))

    def start_early(self, text: str, config: SessionConfig) -> None:
        """Answer an interim as if it were the final, unheard until that confirms it."""
        if not self._early.answers(text):
            self._early.drop()
            history = self._history.copy()
            self._take_in(history, text)
            self._early.keep(text, self._new(history, Stopwatch(), config, held=True))

    def confirm(self, text: str, stopwatch: Stopwatch) -> bool:
        """Whether an answer to `text` has begun; it is heard from now on."""
        if (reply := self._early.confirm(text)) is None:
            return False
        self._take_in(self._history, text)
        self._begin(reply)
        reply.release(stopwatch)
        return True

    def drop_early(self) -> None:
        """What was begun early is for words that nobody has said."""
        self._early.drop()

    def _take_in(self, history: History, text: str) -> None:
        for message in self.unanswered:
            history.add(message.role, message.content)
        if text:
            history.user(text)

    def _new(
        self, history: History, stopwatch: Stopwatch, config: SessionConfig, *, held: bool = False
    ) -> Reply:
        """A reply to the conversation as it stands in `history`; what it calls itself comes behind that."""
        settings, turn = self._settings, self._turn + 1
        context, system = settings.context(), config.system or settings.system
        conversation, tools = tuple(history.messages), self._tools(turn, config)
        offered = tools.offer.text
        reply = Reply(
            turn, self._session_id, self._engines, settings, config, tools, self._emit, stopwatch, held=held
        )
        reply.start(
            self._tasks,
            lambda rounds: context.fit(system, [*conversation, *rounds], offered),
            self._on_end,
        )
        return reply

    def _tools(self, turn: int, config: SessionConfig) -> ToolUse:
        """This deployment's functions and the client's own."""
        toolbox, own = self._engines.toolbox, config.offer.tools
        runners: dict[str, Run] = dict.fromkeys(
            toolbox.tools, partial(toolbox.run, session_id=self._session_id)
        )
        if not config.hands_over:
            runners |= {tool.name: partial(self._ask_client, turn) for tool in own}
        offer = replace(config.offer, tools=(*toolbox.tools.values(), *own))
        return ToolUse(offer, runners, self._settings.tool_limits())

    def _begin(self, reply: Reply) -> None:
        self.unanswered.clear()
        self._turn, self.present = reply.turn, reply
        self._emit(ReplyStarted(reply.turn))  # now, so that a pause or an end cannot come before it

    # What becomes of it

    def pause(self) -> None:
        if self.present is not None:
            self.present.clock.pause()
            self._emit(ReplyPaused(self.present.turn))

    def resume(self, why: str) -> None:
        """Go on, where it is paused."""
        if self.present is not None and self.present.clock.paused:
            PAUSES.labels(why).inc()
            self.present.clock.resume()
            self._emit(ReplyResumed(self.present.turn))

    def playback(self, played_ms: float) -> None:
        """The listener is here."""
        if self.present is not None:
            self.present.clock.report(played_ms)

    def truncate(self, turn: int, played_ms: float) -> bool:
        """The listener heard a reply up to here and dropped the rest; it may have ended already.

        Whether it is a reply that is known here: the present one or the last.
        """
        if self.present is not None and self.present.turn == turn:
            self.playback(played_ms)
            self.interrupt("cancelled")
            return True
        if self._last is None or self._last[0].turn != turn:
            return False
        reply, kept = self._last
        if kept is not None:
            self._last = reply, self._history.replace(kept, reply.heard_until(played_ms))
        return True

    def tool_output(self, call_id: str, output: str) -> None:
        """What came of a call that the client was told of. Raises InputError where none such waits."""
        asked = self._asked.pop(call_id, None)
        if asked is not None and not asked.done():
            asked.set_result(output)
            return
        under_way = self.present is not None and self.present.tools.answer(call_id, output)
        if not under_way and not answer_call(self._history.messages, call_id, output):
            raise InputError("no call of this id waits for its output")

    async def _ask_client(self, turn: int, call: Call) -> str:
        asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked[call.id] = asked
        try:
            self._emit(ToolCall(turn, call.id, call.name, call.arguments))
            return await asked
        finally:
            self._asked.pop(call.id, None)

    def _emit(self, event: Event) -> None:
        turn = getattr(event, "turn", None)
        if turn is None or (self.present is not None and turn == self.present.turn):
            self._outbox.put(event)

    # How it ends

    def interrupt(self, why: str) -> None:
        """End the present reply for good, and the work for it in every engine."""
        if (reply := self.present) is None:
            return
        if reply.clock.paused:
            PAUSES.labels(why).inc()
        if not reply.all_sent:
            self._emit(reply.metrics())
        reply.stop()
        spoken = reply.heard()
        told = Interrupted(reply.turn, spoken, round(reply.clock.played_ms()))
        self._end(reply, "interrupted", spoken, told)

    def _on_end(self, reply: Reply, fault: Error | None) -> None:
        if self._early.failed(reply) or reply is not self.present:
            return  # an interruption while it failed has ended the turn, and kept its history
        if fault is None:
            self._end(reply, "done", reply.text.strip())
        else:
            FAULTS.labels(fault.code).inc()
            self._end(reply, "fault", reply.heard(), fault)

    def _end(self, reply: Reply, how: str, said: str, told: Interrupted | Error | None = None) -> None:
        """In one step, so that nothing can slip between: `said` is kept, `told` is its last event."""
        self.present = None
        self._last = reply, self._keep(reply, said)
        TURNS.labels(how).inc()
        self._on_over()
        if told is not None:
            self._outbox.drop_turn(reply.turn)
            self._outbox.put(told)

    def _keep(self, reply: Reply, said: str) -> Message | None:
        """In the history: what it called, and of its words those that count."""
        rounds = reply.tools.settled()
        handed_over = rounds.pop() if reply.tools.told else None  # what was said comes before its outputs
        for message in rounds:
            self._history.add(message.role, "", message.calls)
        if handed_over is not None:
            return self._history.add(handed_over.role, said, handed_over.calls)
        return self._history.assistant(said)
