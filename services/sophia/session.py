"""One conversation, free of any wire: it takes audio, text and commands, and emits events.

The rules of the loop: hush first and decide then; an interruption ends a turn for good; the
history keeps what was heard; a fault of one peer costs at most its own turn.
"""

from __future__ import annotations

import asyncio
import math
import uuid

from services.sophia.end_of_turn import EndOfTurn
from services.sophia.engines import Engines
from services.sophia.events import (
    Error,
    SpeechStarted,
    SpeechStopped,
    TranscriptFinal,
    TranscriptPartial,
)
from services.sophia.hearing import Heard, Hearing
from services.sophia.history import History
from services.sophia.hush import Hush, Outcome
from services.sophia.metrics import FAULTS, QUIET_FINALS
from services.sophia.outbox import Outbox
from services.sophia.quiet_gap import QuietGap
from services.sophia.replies import Replies
from services.sophia.riva import Listening
from services.sophia.session_config import SessionConfig
from services.sophia.settings import SophiaSettings
from services.sophia.stopwatch import Stopwatch
from services.sophia.vad import Vad, VadSettings
from shared.audio import RATE, Resampler, WholeSamples, duration_s
from shared.errors import InputError, VoxloopError
from shared.silero import is_quiet


class Session:
    """Its ears, and what becomes of what they hear; `replies` is its mouth."""

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
        self.replies = Replies(self.id, engines, settings, history, outbox, tasks, self._on_reply_over)
        self._config = config
        self._end_of_turn = engines.end_of_turn
        self._settings = settings
        self._outbox = outbox
        self._tasks = tasks
        self._whole = WholeSamples()
        self._resampler = Resampler(config.input_rate, RATE)
        self._vad = Vad(
            VadSettings(start_ms=settings.hush_after_ms, stop_ms=settings.speech_stop_ms),
            engines.detector,
            self._on_window,
        )
        listening = Listening(
            config.language,
            settings.asr_start_history_ms,
            settings.asr_stop_history_ms,
            settings.asr_early_history_ms if settings.early_start else 0,
        )
        self._hearing = Hearing(
            engines.riva, listening, self._on_heard, self._on_fault, settings.max_utterance_s
        )
        self._hush = Hush(settings)
        self._over_reply = False  # whether the newest speech began over one
        self._decision: asyncio.TimerHandle | None = None
        self._quiet_gap = QuietGap(settings.quiet_final_ms)
        self._awaiting_final = False
        self._utterance_s = 0.0  # of what is being said
        self._held = ""  # a final that may not be all that the user has to say
        self._verdict: asyncio.Task[None] | None = None  # on that
        self._goes_on = False  # the user has words that wait for the rest of them
        self._excused = False  # the client knows that what is being said may be lost
        self._calmed = asyncio.Event()
        self._now = asyncio.get_running_loop().time
        tasks.create_task(self._hearing.run())

    def close(self) -> None:
        """The client is gone: of a reply under way, the history keeps what was heard."""
        self._vad.forget()
        self.replies.drop_early()
        self.replies.interrupt("disconnected")
        self._decide_at(math.inf)

    # What the client does

    def audio(self, data: bytes) -> None:
        """Microphone audio: PCM16 mono at the input rate, cut anywhere."""
        pcm = self._resampler.feed(self._whole.feed(data))
        if not pcm:
            return
        self._vad.feed(pcm)
        in_speech = self._vad.speaking or self._awaiting_final
        self._utterance_s = self._utterance_s + duration_s(pcm) if in_speech else 0.0
        if self._utterance_s > self._settings.max_utterance_s:
            self._cut_utterance()
        self._hearing.feed(pcm, in_speech=in_speech, quiet=self._vad.quiet and not in_speech)

    def configure(self, config: SessionConfig) -> None:
        """From the next reply on. What the ears were opened with stays: language and input rate."""
        self.replies.drop_early()
        self._config = config

    def respond(self, config: SessionConfig | None = None) -> None:
        """Answer the conversation as it stands, in a way of its own where one is given.

        A reply of which all is sent counts as heard to its end.
        """
        reply = self.replies.present
        if reply is not None and reply.all_sent:
            self.replies.playback(reply.clock.sent_ms)
        self.replies.interrupt("asked")
        self._keep_held()
        if not self.replies.unanswered and not self.history.messages:
            raise InputError("there is nothing to answer yet")
        self._answer("", config)

    def text(self, text: str) -> None:
        """A typed turn; it interrupts a reply that is being spoken."""
        if not text.strip():
            raise InputError("a typed turn needs some text")
        self.replies.interrupt("typed")
        self._keep_held()
        self._answer(text.strip())

    def cancel(self) -> None:
        self.replies.interrupt("cancelled")

    async def until_calm(self) -> None:
        """Wait until nothing is being said, and no reply is under way."""
        while self.replies.present is not None or self._awaiting_final or self._held:
            self._calmed.clear()
            await self._calmed.wait()

    def end_utterance(self) -> asyncio.Future[None]:
        """The client says that all is said; done once its last words were told."""
        all_heard = self._hearing.cut()
        all_heard.add_done_callback(self._on_all_heard)
        return all_heard

    def forget_utterance(self) -> None:
        """Nothing of what was said since the last final is told any more."""
        self._vad.forget()
        self._hearing.forget()
        self._quiet_gap.forget()
        self._on_all_heard()

    def _on_all_heard(self, _: object = None) -> None:
        self._end_speech()
        self._on_nothing_said()

    # Speech, with words or without

    def _on_window(self, pcm: bytes, began: bool | None) -> None:
        """What the detector says of the audio, a few ms after it came."""
        if began is not None:
            self._on_speech_started() if began else self._on_speech_stopped()
        if (self.replies.present is not None or self._over_reply) and self._config.input_rate >= RATE:
            # To tell words from murmurs takes the treble, and what the detector makes little of.
            self._hush.listen(pcm, quiet=is_quiet(pcm))
        if self._hush.paused and (outcome := self._hush.speech_lasts(self._vad.voiced_ms)) is not None:
            self.replies.interrupt(outcome)
        if self._vad.quiet_ms >= self._quiet_gap.after_ms:
            self._on_quiet_gap()

    def _on_speech_started(self) -> None:
        self._awaiting_final = True
        self._keep_held()
        self._excused = False
        self._outbox.put(SpeechStarted())
        self._over_reply = self.replies.present is not None and self._config.interruptible
        if self._over_reply and not self._hush.paused:
            self.replies.pause()
        self._decide_at(self._hush.speech_began(self._now(), over_reply=self._over_reply))

    def _on_speech_stopped(self) -> None:
        self._outbox.put(SpeechStopped())
        # A turn that the VAD opened and no words follow closes itself.
        self._decide_at(self._hush.speech_stopped(self._now()))

    def _end_speech(self) -> None:
        """All of the utterance was heard, whatever the microphone still hears of it."""
        self._utterance_s = 0.0
        if self._vad.end_speech():
            self._outbox.put(SpeechStopped())

    def _decide_at(self, when: float) -> None:
        """Words that have not come by then were none."""
        if self._decision is not None:
            self._decision.cancel()
            self._decision = None
        if when < math.inf:
            self._decision = asyncio.get_running_loop().call_at(when, self._on_nothing_said)

    def _on_nothing_said(self) -> None:
        self._decide_at(math.inf)
        self._awaiting_final = False
        self._vad.newest_ms = 0.0
        self.replies.drop_early()
        self._calmed.set()
        if self._hearing.fault is not None and not self._excused:
            self._on_fault(self._hearing.fault)  # words there may have been
        self._resume(Outcome.NOISE)
        self._answer_the_rest()

    def _resume(self, outcome: Outcome) -> None:
        self._hush.over()
        self.replies.resume(outcome)

    def _on_reply_over(self) -> None:
        self._hush.over()
        self._calmed.set()

    def _on_quiet_gap(self) -> None:
        if (final := self._quiet_gap.final(self._vad.quiet_ms, self._now())) is not None:
            QUIET_FINALS.inc()
            self._hearing.forget()
            self._on_heard(final)

    def _cut_utterance(self) -> None:
        self._utterance_s = 0.0
        self._hearing.cut()
        longest = f"{self._settings.max_utterance_s:g} s"
        self._outbox.put(Error("utterance_too_long", f"what was said is answered after {longest}", False))

    def _on_fault(self, error: VoxloopError) -> None:
        self._excused = True
        FAULTS.labels(error.code).inc()
        self._outbox.put(Error(error.code, str(error), error.retryable))

    # Words

    def _on_heard(self, heard: Heard) -> None:
        self._quiet_gap.note(heard, self._now())
        if not heard.text:
            if heard.is_final and not self._awaiting_final:
                self._answer_the_rest()
            return
        speech_ms = self._vad.newest_ms
        if heard.is_final:
            self._vad.newest_ms = 0.0  # what comes now is another utterance
            self._awaiting_final = False
            self._end_speech()
            self._calmed.set()
        kind = TranscriptFinal if heard.is_final else TranscriptPartial
        self._outbox.put(kind(heard.text, round(heard.confidence, 3), heard.words))
        # A final may come behind the end of the reply that its words were said over.
        over_reply = self.replies.present is not None or (heard.is_final and self._over_reply)
        self._over_reply = self._over_reply and not heard.is_final
        if over_reply and not self._ends_reply(heard, speech_ms):
            return
        if not self._config.answers:
            return
        self._keep_held()
        if heard.is_final:
            self._on_said(heard.text)
        elif self._may_be_all(heard):
            self.replies.start_early(heard.text, self._config)

    def _ends_reply(self, heard: Heard, speech_ms: float) -> bool:
        """Whether these words end the reply that they are said over."""
        if not self._config.interruptible:
            if heard.is_final and self._config.answers:
                self.replies.add("user", heard.text)
            return False
        outcome = self._hush.heard(heard, speech_ms, self._config.language)
        if outcome is Outcome.WORDS:
            self.replies.interrupt(outcome)
        elif outcome is not None:
            self._resume(outcome)
        return outcome is Outcome.WORDS

    def _may_be_all(self, heard: Heard) -> bool:
        """A stable interim whose speaker pauses, where early starts are wanted."""
        settings = self._settings
        stable = heard.confidence >= settings.early_stability  # an interim's confidence is its stability
        return settings.early_start and stable and self._vad.quiet_ms > 0

    # Whether they are all that the user has to say

    def _on_said(self, text: str) -> None:
        stopwatch = Stopwatch()
        stopwatch.set("speech_end_to_final", self._vad.quiet_ms)
        if self._end_of_turn is None or not self._end_of_turn.asks(text):
            self._on_question(text, stopwatch)
            return
        self._held = text
        self._verdict = self._tasks.create_task(self._judge(self._end_of_turn, text, stopwatch))

    async def _judge(self, end_of_turn: EndOfTurn, text: str, stopwatch: Stopwatch) -> None:
        before = [message.content for message in self.replies.unanswered if message.role == "user"]
        if not await end_of_turn.is_over(" ".join([*before, text]), self.history.messages):
            await asyncio.sleep(self._settings.end_of_turn_wait_ms / 1e3)
        self._held, self._verdict = "", None
        stopwatch.mark("end_of_turn")
        self._on_question(text, stopwatch)

    def _keep_held(self) -> None:
        """More comes: what was said so far waits for it."""
        if self._verdict is not None:
            self._verdict.cancel()
            self.replies.add("user", self._held)
            self._held, self._verdict, self._goes_on = "", None, True

    def _answer_the_rest(self) -> None:
        """What sounded like more was none."""
        if self._goes_on and self._quiet_gap.interim is None:
            self._answer("")

    def _on_question(self, text: str, stopwatch: Stopwatch) -> None:
        self._new_reply()
        if not self.replies.confirm(text, stopwatch):
            self.replies.start(text, stopwatch, self._config)

    def _new_reply(self) -> None:
        self._goes_on = self._over_reply = False
        self._hush.forget()

    def _answer(self, text: str, config: SessionConfig | None = None) -> None:
        self._new_reply()
        self.replies.start(text, Stopwatch(), config or self._config)
