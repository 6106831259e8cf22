"""One conversation, free of any wire: it takes audio, text and commands, and emits events.

The rules of the loop: hush first and decide then; an interruption ends a turn for good; the
history keeps what was heard; a fault of one peer costs at most its own turn.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections import deque
from dataclasses import dataclass, replace
from functools import partial

from services.sophia.end_of_turn import EndOfTurn
from services.sophia.engines import Engines
from services.sophia.events import (
    Error,
    Event,
    Interrupted,
    ReplyPaused,
    ReplyResumed,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    TranscriptFinal,
    TranscriptPartial,
)
from services.sophia.hearing import Heard, Hearing
from services.sophia.history import Call, History, Message, answer_call
from services.sophia.hush import Hush, Outcome
from services.sophia.metrics import EARLY_STARTS, FAULTS, PAUSES, QUIET_FINALS, TURNS
from services.sophia.outbox import Outbox
from services.sophia.riva import Listening
from services.sophia.session_config import SessionConfig
from services.sophia.settings import SophiaSettings
from services.sophia.stopwatch import Stopwatch
from services.sophia.tool_use import Run, ToolUse
from services.sophia.tools import Offer
from services.sophia.turn import Prompt, Reply
from services.sophia.vad import Vad, VadSettings
from services.sophia.words import words
from shared.audio import RATE, Resampler, WholeSamples, duration_s
from shared.errors import InputError, VoxloopError

log = logging.getLogger(__name__)

MAX_UNANSWERED = 64
"""Messages that nobody has asked an answer for; beyond that the oldest goes."""


@dataclass(frozen=True, slots=True)
class _EarlyStart:
    text: str
    reply: Reply
    task: asyncio.Task[None]


class Session:
    def __init__(
        self,
        config: SessionConfig,
        engines: Engines,
        settings: SophiaSettings,
        history: History,
        outbox: Outbox,
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Works in `tasks` from now on, until they are cancelled."""
        self.id = uuid.uuid4().hex[:12]
        self.history = history
        self._config = config
        self._engines = engines
        self._settings = settings
        self._outbox = outbox
        self._tasks = tasks
        self._whole = WholeSamples()
        self._resampler = Resampler(config.input_rate, RATE)
        self._vad = Vad(VadSettings(start_ms=settings.hush_after_ms, stop_ms=settings.speech_stop_ms))
        listening = Listening(
            config.language,
            settings.asr_start_history_ms,
            settings.asr_stop_history_ms,
            settings.asr_early_history_ms if settings.early_start else 0,
        )
        self._hearing = Hearing(
            engines.riva, listening, self._on_heard, self._on_fault, settings.max_utterance_s
        )
        self._turn = 0
        self._reply: Reply | None = None
        self._reply_task: asyncio.Task[None] | None = None
        self._early: _EarlyStart | None = None
        self._ended: tuple[Reply, Message | None] | None = None  # the newest that has, and what is kept of it
        self._unanswered: deque[Message] = deque(maxlen=MAX_UNANSWERED)
        self._decision: asyncio.TimerHandle | None = None
        self._hush = Hush(settings)
        self._awaiting_final = False
        self._utterance_s = 0.0  # of what is being said
        self._interim: Heard | None = None  # the newest that has no final yet
        self._interim_at = 0.0  # when it was first heard so, on the loop's clock
        self._final_after_ms = math.inf  # of quiet in the microphone's audio
        self._held = ""  # a final that may not be all that the user has to say
        self._verdict: asyncio.Task[None] | None = None  # on that
        self._goes_on = False  # the user has words that wait for the rest of them
        self._excused = False  # the client knows that what is being said may be lost
        self._calmed = asyncio.Event()
        self._asked: dict[str, asyncio.Future[str]] = {}  # the client, for the output of a call
        tasks.create_task(self._hearing.run())

    def close(self) -> None:
        """The client is gone: of a reply under way, the history keeps what was heard."""
        self._drop_early()
        self._interrupt("disconnected")
        self._cancel_decision()

    # What the client does

    def audio(self, data: bytes) -> None:
        """Microphone audio: PCM16 mono at the input rate, cut anywhere."""
        pcm = self._resampler.feed(self._whole.feed(data))
        if not pcm:
            return
        for began in self._vad.feed(pcm):
            self._on_speech_started() if began else self._on_speech_stopped()
        if self._hush.paused and (outcome := self._hush.speech_lasts(self._vad.voiced_ms)) is not None:
            self._interrupt(outcome)
        if self._vad.quiet_ms >= self._final_after_ms:
            self._on_quiet_gap()
        in_speech = self._vad.speaking or self._awaiting_final
        self._utterance_s = self._utterance_s + duration_s(pcm) if in_speech else 0.0
        if self._utterance_s > self._settings.max_utterance_s:
            self._cut_utterance()
        self._hearing.feed(pcm, in_speech=in_speech, quiet=self._vad.quiet and not in_speech)

    def configure(self, config: SessionConfig) -> None:
        """From the next reply on. What the ears were opened with stays: language and input rate."""
        self._drop_early()
        self._config = config

    @property
    def answering(self) -> int | None:
        """The turn of the reply that is being made, until all of it is sent."""
        return self._reply.turn if self._reply is not None and not self._reply.all_sent else None

    def add(self, role: str, text: str) -> None:
        """Words for the conversation that ask for no answer yet."""
        self._unanswered.append(Message(role, text))

    def respond(self, config: SessionConfig | None = None) -> None:
        """Answer the conversation as it stands, in a way of its own where one is given.

        A reply of which all is sent counts as heard to its end.
        """
        if self._reply is not None and self._reply.all_sent:
            self.playback(self._reply.clock.sent_ms)
        self._interrupt("asked")
        self._keep_held()
        if not self._unanswered and not self.history.messages:
            raise InputError("there is nothing to answer yet")
        self._start_reply("", Stopwatch(), config)

    def tool_output(self, call_id: str, output: str) -> None:
        """What came of a call that the client was told of. Raises InputError where none such waits."""
        asked = self._asked.pop(call_id, None)
        if asked is not None and not asked.done():
            asked.set_result(output)
            return
        under_way = self._reply is not None and self._reply.tools.answer(call_id, output)
        if not under_way and not answer_call(self.history.messages, call_id, output):
            raise InputError("no call of this id waits for its output")

    def truncate(self, turn: int, played_ms: float) -> bool:
        """The listener heard a reply up to here and dropped the rest; it may have ended already.

        Whether it is that reply that this session knows: the present one or the last.
        """
        if self._reply is not None and self._reply.turn == turn:
            self._reply.clock.report(played_ms)
            self._interrupt("cancelled")
            return True
        if self._ended is None or self._ended[0].turn != turn:
            return False
        reply, kept = self._ended
        if kept is not None:
            self._ended = reply, self.history.replace(kept, reply.heard_until(played_ms))
        return True

    def text(self, text: str) -> None:
        """A typed turn; it interrupts a reply that is being spoken."""
        if not text.strip():
            raise InputError("a typed turn needs some text")
        self._interrupt("typed")
        self._keep_held()
        self._start_reply(text.strip(), Stopwatch())

    def cancel(self) -> None:
        self._interrupt("cancelled")

    def playback(self, played_ms: float) -> None:
        if self._reply is not None:
            self._reply.clock.report(played_ms)

    async def until_calm(self) -> None:
        """Wait until nothing is being said, and no reply is under way."""
        while self._reply is not None or self._awaiting_final or self._held:
            self._calmed.clear()
            await self._calmed.wait()

    # What the ears tell

    def end_utterance(self) -> asyncio.Future[None]:
        """The client says that all is said; done once its last words were told."""
        all_heard = self._hearing.cut()
        all_heard.add_done_callback(self._on_all_heard)
        return all_heard

    def forget_utterance(self) -> None:
        """Nothing of what was said since the last final is told any more."""
        self._hearing.forget()
        self._interim, self._final_after_ms = None, math.inf
        self._on_all_heard()

    def _on_all_heard(self, _: object = None) -> None:
        self._utterance_s = 0.0
        if self._vad.end_speech():
            self._emit(SpeechStopped())
        self._cancel_decision()
        self._on_nothing_said()

    def _cut_utterance(self) -> None:
        self._utterance_s = 0.0
        self._hearing.cut()
        longest = f"{self._settings.max_utterance_s:g} s"
        self._emit(Error("utterance_too_long", f"what was said is answered after {longest}", False))

    def _on_speech_started(self) -> None:
        self._awaiting_final = True
        self._keep_held()
        self._excused = False
        self._emit(SpeechStarted())
        reply = self._reply if self._config.interruptible else None
        if reply is not None and not self._hush.paused:
            reply.clock.pause()
            self._emit(ReplyPaused(reply.turn))
        now = asyncio.get_running_loop().time()
        self._decide_at(self._hush.speech_began(now, over_reply=reply is not None))

    def _on_speech_stopped(self) -> None:
        self._emit(SpeechStopped())
        # A turn that the VAD opened and no words follow closes itself.
        self._decide_at(self._hush.speech_stopped(asyncio.get_running_loop().time()))

    def _decide_at(self, when: float) -> None:
        """Words that have not come by then were none."""
        self._cancel_decision()
        if when < math.inf:
            self._decision = asyncio.get_running_loop().call_at(when, self._on_nothing_said)

    def _cancel_decision(self) -> None:
        if self._decision is not None:
            self._decision.cancel()
            self._decision = None

    def _on_nothing_said(self) -> None:
        self._awaiting_final = False
        self._vad.newest_ms = 0.0
        self._drop_early()
        self._calmed.set()
        if self._hearing.fault is not None and not self._excused:
            self._on_fault(self._hearing.fault)  # words there may have been
        self._resume(Outcome.NOISE)
        self._answer_the_rest()

    def _note_interim(self, heard: Heard) -> None:
        gap_ms = self._settings.quiet_final_ms
        if heard.is_final:
            self._interim, self._final_after_ms = None, math.inf
        elif heard.text and gap_ms:
            if self._interim is None or self._interim.text != heard.text:
                self._interim_at, self._final_after_ms = asyncio.get_running_loop().time(), gap_ms
            self._interim = heard

    def _on_quiet_gap(self) -> None:
        """The speaker has long been quiet, and there was no final. Hosted models exist that never send one.

        Audio may come faster than it was spoken: then Riva has yet to hear what was quiet here.
        """
        gap_ms, now = self._settings.quiet_final_ms, asyncio.get_running_loop().time()
        since_ms = (now - self._interim_at) * 1e3
        if since_ms < gap_ms:
            self._final_after_ms = self._vad.quiet_ms + gap_ms - since_ms
        elif self._interim is not None:
            QUIET_FINALS.inc()
            self._hearing.forget()
            self._on_heard(replace(self._interim, is_final=True))

    def _on_heard(self, heard: Heard) -> None:
        self._note_interim(heard)
        if not heard.text:
            if heard.is_final and not self._awaiting_final:
                self._answer_the_rest()
            return
        speech_ms = self._vad.newest_ms
        if heard.is_final:
            self._vad.newest_ms = 0.0  # what comes now is another utterance
            self._awaiting_final = False
            self._utterance_s = 0.0
            if self._vad.end_speech():
                self._emit(SpeechStopped())
        kind = TranscriptFinal if heard.is_final else TranscriptPartial
        self._emit(kind(heard.text, round(heard.confidence, 3), heard.words))
        if self._reply is not None and not self._config.interruptible:
            if heard.is_final and self._config.answers:
                self.add("user", heard.text)
            return
        if self._reply is not None:
            outcome = self._hush.heard(heard, speech_ms, self._config.language)
            if outcome is not Outcome.WORDS:
                if outcome is not None:
                    self._resume(outcome)
                return
            self._interrupt(outcome)
        if not self._config.answers:
            return
        self._keep_held()
        if heard.is_final:
            self._on_said(heard.text)
        elif self._may_be_all(heard):
            self._start_early(heard.text)

    def _may_be_all(self, heard: Heard) -> bool:
        """A stable interim whose speaker pauses, where early starts are wanted."""
        settings = self._settings
        stable = heard.confidence >= settings.early_stability  # an interim's confidence is its stability
        return settings.early_start and stable and self._vad.quiet_ms > 0

    def _on_said(self, text: str) -> None:
        stopwatch = Stopwatch()
        stopwatch.set("speech_end_to_final", self._vad.quiet_ms)
        end_of_turn = self._engines.end_of_turn
        if end_of_turn is None or not end_of_turn.asks(text):
            self._on_question(text, stopwatch)
            return
        self._held = text
        self._verdict = self._tasks.create_task(self._judge(end_of_turn, text, stopwatch))

    async def _judge(self, end_of_turn: EndOfTurn, text: str, stopwatch: Stopwatch) -> None:
        said = " ".join([message.content for message in self._unanswered if message.role == "user"] + [text])
        if not await end_of_turn.is_over(said, self.history.messages):
            await asyncio.sleep(self._settings.end_of_turn_wait_ms / 1e3)
        self._held, self._verdict = "", None
        stopwatch.mark("end_of_turn")
        self._on_question(text, stopwatch)

    def _keep_held(self) -> None:
        """More comes: what was said so far waits for it."""
        if self._verdict is not None:
            self._verdict.cancel()
            self.add("user", self._held)
            self._held, self._verdict, self._goes_on = "", None, True

    def _answer_the_rest(self) -> None:
        """What sounded like more was none."""
        if self._goes_on and self._interim is None:
            self._start_reply("", Stopwatch())

    def _on_question(self, text: str, stopwatch: Stopwatch) -> None:
        early = self._early
        if early is not None and words(early.text) == words(text):
            self._early = None
            EARLY_STARTS.labels("confirmed").inc()
            self._take_in(self.history, text)
            self._unanswered.clear()
            self._begin(early.reply, early.task)
            early.reply.release(stopwatch)
        else:
            self._start_reply(text, stopwatch)

    def _on_fault(self, error: VoxloopError) -> None:
        self._excused = True
        FAULTS.labels(error.code).inc()
        self._emit(Error(error.code, str(error), error.retryable))

    # The reply

    def _start_reply(self, text: str, stopwatch: Stopwatch, config: SessionConfig | None = None) -> None:
        self._drop_early()
        config = config or self._config
        self._take_in(self.history, text)
        self._unanswered.clear()
        reply, prompt = self._new_reply(config, stopwatch), self._prompt(config, self.history)
        self._begin(reply, self._tasks.create_task(self._run(reply, prompt)))

    def _start_early(self, text: str) -> None:
        """Answer an interim as if it were the final, unheard until that confirms it."""
        if self._early is not None and words(self._early.text) == words(text):
            return
        self._drop_early()
        history = self.history.copy()
        self._take_in(history, text)
        reply = self._new_reply(self._config, Stopwatch(), held=True)
        task = self._tasks.create_task(self._run(reply, self._prompt(self._config, history)))
        self._early = _EarlyStart(text, reply, task)

    def _drop_early(self) -> None:
        if self._early is not None:
            EARLY_STARTS.labels("dropped").inc()
            self._early.task.cancel()
            self._early = None

    def _take_in(self, history: History, text: str) -> None:
        """Into `history` what waits for an answer, and then the user's `text`, where there is any."""
        for message in self._unanswered:
            history.add(message.role, message.content)
        if text:
            history.user(text)

    def _prompt(self, config: SessionConfig, history: History) -> Prompt:
        """The conversation as it stands now, in front of what the reply itself calls."""
        context, system = self._settings.context(), config.system or self._settings.system
        conversation, tools = tuple(history.messages), self._offer(config).text
        return lambda rounds: context.fit(system, [*conversation, *rounds], tools)

    def _offer(self, config: SessionConfig) -> Offer:
        """This deployment's functions and the client's own."""
        return replace(config.offer, tools=(*self._engines.toolbox.tools.values(), *config.offer.tools))

    def _new_reply(self, config: SessionConfig, stopwatch: Stopwatch, *, held: bool = False) -> Reply:
        turn = self._turn + 1
        runners: dict[str, Run] = dict.fromkeys(
            self._engines.toolbox.tools, partial(self._engines.toolbox.run, session_id=self.id)
        )
        if not config.hands_over:
            runners |= {tool.name: partial(self._ask_client, turn) for tool in config.offer.tools}
        tools = ToolUse(self._offer(config), runners, self._settings.tool_limits())
        return Reply(
            turn, self.id, self._engines, self._settings, config, tools, self._emit, stopwatch, held=held
        )

    async def _ask_client(self, turn: int, call: Call) -> str:
        asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked[call.id] = asked
        try:
            self._emit(ToolCall(turn, call.id, call.name, call.arguments))
            return await asked
        finally:
            self._asked.pop(call.id, None)

    def _begin(self, reply: Reply, task: asyncio.Task[None]) -> None:
        self._turn, self._goes_on = reply.turn, False
        self._reply, self._reply_task = reply, task
        self._emit(ReplyStarted(reply.turn))  # now, so that a pause or an end cannot come before it

    async def _run(self, reply: Reply, prompt: Prompt) -> None:
        fault: Error | None = None
        try:
            async with asyncio.timeout(self._settings.max_turn_s):
                await reply.run(prompt)
        except TimeoutError:
            longest = f"{self._settings.max_turn_s:g} s"
            fault = Error("turn_too_long", f"a reply is cut after {longest}", False, reply.turn)
        except VoxloopError as error:
            fault = Error(error.code, str(error), error.retryable, reply.turn)
        except Exception as error:
            log.exception("turn %d of session %s failed", reply.turn, self.id)
            fault = Error("internal", f"this turn failed ({type(error).__name__})", True, reply.turn)
        if self._early is not None and self._early.reply is reply:
            self._early = None  # the final will try again
            EARLY_STARTS.labels("failed").inc()
        if self._reply is not reply:
            return  # interrupted while it failed: that has ended the turn and kept its history
        self._keep(reply, reply.heard() if fault else reply.text.strip())
        TURNS.labels("fault" if fault else "done").inc()
        self._no_reply()
        if fault is not None:
            FAULTS.labels(fault.code).inc()
            self._outbox.drop_turn(reply.turn)
            self._emit(fault)

    def _interrupt(self, why: str) -> None:
        """End the present reply for good. In one step, so that nothing can slip between."""
        reply, task = self._reply, self._reply_task
        if reply is None or task is None:
            return
        if self._hush.paused:
            PAUSES.labels(why).inc()
        if not reply.all_sent:
            self._emit(reply.metrics())
        self._no_reply()
        task.cancel()
        self._outbox.drop_turn(reply.turn)
        spoken = reply.heard()
        self._keep(reply, spoken)
        TURNS.labels("interrupted").inc()
        self._emit(Interrupted(reply.turn, spoken, round(reply.clock.played_ms())))

    def _keep(self, reply: Reply, said: str) -> None:
        """In the history: what a reply that has ended called, and of its words those that count."""
        rounds = reply.tools.settled()
        handed_over = rounds.pop() if reply.tools.told else None  # what was said comes before its outputs
        for message in rounds:
            self.history.add(message.role, "", message.calls)
        if handed_over is not None:
            kept: Message | None = self.history.add(handed_over.role, said, handed_over.calls)
        else:
            kept = self.history.assistant(said)
        self._ended = reply, kept

    def _no_reply(self) -> None:
        self._reply = self._reply_task = None
        self._hush.over()
        self._calmed.set()

    def _resume(self, why: str) -> None:
        if self._reply is not None and self._hush.paused:
            PAUSES.labels(why).inc()
            self._hush.over()
            self._reply.clock.resume()
            self._emit(ReplyResumed(self._reply.turn))

    def _emit(self, event: Event) -> None:
        """Nothing of a turn that is over passes: not a token, not a sample, not a frame."""
        turn = getattr(event, "turn", None)
        of_a_reply = turn is not None and not isinstance(event, Interrupted | Error)
        if of_a_reply and (self._reply is None or turn != self._reply.turn):
            return
        self._outbox.put(event)
