"""One reply, from the user's words to the last sample that the listener hears.

Four tasks hand on to each other: think (nova's text) → speak (Riva's audio) → play (paced to the
listener), and animate (aurora's frames, held until their sound is sent); a fifth tells aurora where the
sound is, for those who watch there. `Reply.stop` cancels all of them, and with them the work in Triton,
Riva and Audio2Face.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial

from services.sophia.emotion_tags import EmotionTags, Tag
from services.sophia.engines import Engines
from services.sophia.events import (
    Animation,
    AnimationHeader,
    Error,
    Event,
    FunctionCalls,
    ReplyAudio,
    ReplyDone,
    ReplyText,
    TurnMetrics,
)
from services.sophia.face import FaceStream
from services.sophia.history import Call, Message
from services.sophia.metrics import FAULTS, FRAMES_DROPPED, TURN_LATENCY, UNKNOWN_EMOTIONS
from services.sophia.playback import MediaClock, Transcript
from services.sophia.sentences import Clauses
from services.sophia.session_config import SessionConfig
from services.sophia.settings import SophiaSettings
from services.sophia.stopwatch import Stopwatch
from services.sophia.tool_use import ToolUse
from services.sophia.tools import CallDelta, CallParts
from shared.audio import BYTES_PER_SAMPLE, WholeSamples
from shared.emotions import EMOTIONS
from shared.errors import Overloaded, PeerError, PeerProtocol, VoxloopError, first_of

log = logging.getLogger(__name__)

MAX_ANSWER_CHARS = 16_000
"""Some quarter of an hour of speech; an answer that is longer is cut."""
MAX_CLAUSES = 64
"""Clauses that wait for the TTS; beyond that the answer is read no further for a while."""
MAX_AUDIO = 64
"""Pieces of audio that wait for the listener (Riva sends about 100 ms each); beyond that Riva waits."""
PIECE_MS = 100
"""Audio is sent in pieces of at most this length, so that an interruption leaves little behind."""


Prompt = Callable[[Sequence[Message]], Sequence[Message]]
"""What the model is given, of the conversation and the rounds of calls that follow it."""


class Reply:
    def __init__(
        self,
        turn: int,
        session_id: str,
        engines: Engines,
        settings: SophiaSettings,
        config: SessionConfig,
        tools: ToolUse,
        emit: Callable[[Event], None],
        stopwatch: Stopwatch,
        *,
        held: bool = False,
    ) -> None:
        """`held`: nothing of it leaves before `release`; text and sound are made ready meanwhile."""
        self.turn = turn
        self.clock = MediaClock()
        self.text = ""
        self.all_sent = False
        self.tools = tools
        self._session_id = session_id
        self._engines = engines
        self._settings = settings
        self._config = config
        self._send = emit
        self._withheld: list[Event] = []  # bounded by the answer's length
        self._released = asyncio.Event()
        if not held:
            self._released.set()
        self._task: asyncio.Task[None] | None = None
        self._stopwatch = stopwatch
        self._told: set[str] = set()
        self._room = MAX_ANSWER_CHARS  # for what the model may still say, its tags included
        self._transcript = Transcript()
        self._clauses: asyncio.Queue[str | Tag | None] = asyncio.Queue(MAX_CLAUSES)
        self._audio: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_AUDIO)
        self._face: FaceStream | None = (
            engines.face.animate(session_id, turn, config.output_rate, config.emotion)
            if config.animation
            else None
        )

    def release(self, stopwatch: Stopwatch) -> None:
        """It was the right question. Its stages count from now on, behind those of `stopwatch`."""
        self._stopwatch.restart(stopwatch)
        self._released.set()
        for event in self._withheld:
            self._send(event)
        self._withheld.clear()

    def _emit(self, event: Event) -> None:
        if self._released.is_set():
            self._send(event)
        else:
            self._withheld.append(event)

    def heard(self) -> str:
        """The part of the text that the listener has heard by now."""
        return self.heard_until(self.clock.played_ms())

    def heard_until(self, played_ms: float) -> str:
        return self.text.strip() if self._config.silent else self._transcript.heard(played_ms)

    def metrics(self) -> TurnMetrics:
        """The stages that it has come through by now."""
        return TurnMetrics(self.turn, self._stopwatch.stages | {"reply_audio": round(self.clock.sent_ms, 1)})

    def start(
        self, tasks: asyncio.TaskGroup, prompt: Prompt, on_end: Callable[[Reply, Error | None], None]
    ) -> None:
        """Answer `prompt`. `on_end` is told when the listener has heard the end, or of the fault that came
        before; it is not told of a `stop`."""
        self._task = tasks.create_task(self._run(prompt, on_end))

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None  # whose frames hold this

    async def _run(self, prompt: Prompt, on_end: Callable[[Reply, Error | None], None]) -> None:
        try:
            fault = await self._fault(prompt)
        except asyncio.CancelledError as stopped:
            # Its traceback and the frames in it hold each other, and all of the reply: 70 objects that only
            # a full collection would find, and that stops every session for tens of ms.
            raise stopped.with_traceback(None) from None
        on_end(self, fault)

    async def _fault(self, prompt: Prompt) -> Error | None:
        """What came between this reply and its end."""
        longest_s = self._settings.max_turn_s
        try:
            async with asyncio.timeout(longest_s):
                await self._answer(prompt)
        except TimeoutError:
            return Error("turn_too_long", f"a reply is cut after {longest_s:g} s", False, self.turn)
        except VoxloopError as error:
            return Error(error.code, str(error), error.retryable, self.turn)
        except Exception as error:
            log.exception("turn %d of session %s failed", self.turn, self._session_id)
            return Error("internal", f"this turn failed ({type(error).__name__})", True, self.turn)
        return None

    async def _answer(self, prompt: Prompt) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                animation = tasks.create_task(self._animate())
                following = tasks.create_task(self._follow())
                tasks.create_task(self._think(prompt))
                tasks.create_task(self._speak())
                await self._play()
                await asyncio.wait([animation], timeout=self._settings.face_grace_s)
                animation.cancel()
                self._finish()
                await self.clock.until_played_out()
                await asyncio.wait([following], timeout=self._settings.face_grace_s)
                following.cancel()
        except* PeerError as group:
            raise first_of(group) from None

    def _finish(self) -> None:
        """All of it is sent."""
        self.all_sent = True
        self.clock.finish()
        if calls := self.tools.of_client:
            self.tools.told = True
            self._emit(FunctionCalls(self.turn, calls))
        self._emit(ReplyDone(self.turn, self.text.strip()))
        self._emit(self.metrics())

    async def _think(self, prompt: Prompt) -> None:
        """Answer by answer, until one calls nothing that is run here."""
        going_on = True
        while going_on:
            said = len(self.text)
            calls = await self._generate(prompt(self.tools.rounds))
            going_on = bool(calls) and await self.tools.take(self.text[said:].strip(), calls, self._released)
            if going_on:
                self._stopwatch.mark("tools")
        await self._clauses.put(None)
        if not self.text.strip() and not self.tools.of_client:
            raise PeerProtocol("nova", "the answer was empty")

    async def _generate(self, messages: Sequence[Message]) -> list[Call]:
        """One answer: its words are handed on, and what it calls is returned."""
        clauses, tags, parts = Clauses(), EmotionTags(), CallParts()
        settings = self._settings
        pieces = self._engines.answers.generate(
            messages,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            offer=self.tools.offer,
        )
        gap = " " if self.text and not self.text[-1].isspace() else ""
        async with aclosing(pieces):
            async for whole in pieces:
                if isinstance(whole, CallDelta):
                    parts.feed(whole)
                    self._stopwatch.mark("llm_call")
                    continue
                piece, gap = (gap + whole)[: self._room], ""
                if not piece:
                    break
                self._room -= len(piece)
                self._stopwatch.mark("llm_first_token")
                for part in tags.feed(piece):
                    await self._read_out(part, clauses)
        for part in tags.flush():
            await self._read_out(part, clauses)
        await self._hand_on(clauses.flush())
        return parts.calls()

    async def _read_out(self, part: str | Tag, clauses: Clauses) -> None:
        if isinstance(part, str):
            self.text += part
            self._emit(ReplyText(self.turn, part))
            await self._hand_on(clauses.feed(part))
        elif part.known:
            await self._hand_on(clauses.feed("\n"))  # the tag holds for what follows alone
            await self._clauses.put(part)
        else:
            UNKNOWN_EMOTIONS.inc()
            known = ", ".join(EMOTIONS)
            self._tell_once("unknown_emotion", f"[{part.name}] is passed over: known are {known}")

    def _tell_once(self, code: str, message: str) -> None:
        """An answer may hold a thousand of them."""
        if code not in self._told:
            self._told.add(code)
            self._emit(Error(code, message, retryable=False))

    async def _hand_on(self, clauses: list[str]) -> None:
        for clause in clauses:
            await self._clauses.put(clause)
            self._stopwatch.mark("first_clause")

    async def _speak(self) -> None:
        spoken_ms = 0.0
        while (text := await self._clauses.get()) is not None:
            if isinstance(text, Tag):
                self._to_face(partial(FaceStream.emotions, values=text.values))
                continue
            if self._config.silent:
                continue
            clause = self._transcript.begin(text, spoken_ms)
            speech = self._engines.riva.synthesize(
                text, self._config.language, self._config.voice, self._config.output_rate, self._config.speed
            )
            whole = WholeSamples()
            async with aclosing(speech):
                async for piece in speech:
                    clause.words += piece.words
                    timing = partial(FaceStream.timing, words=piece.words, phones=piece.phones)
                    self._to_face(partial(timing, offset_ms=clause.start_ms))
                    if pcm := whole.feed(piece.pcm):
                        self._stopwatch.mark("tts_first_audio")
                        length_ms = self._ms(pcm)
                        clause.duration_ms += length_ms
                        spoken_ms += length_ms
                        self._to_face(partial(FaceStream.audio, pcm=pcm))
                        await self._audio.put(pcm)
            clause.complete = True
            if not spoken_ms:
                raise PeerProtocol("riva", "the synthesis of a clause gave no sound")
        self._to_face(FaceStream.end)
        await self._audio.put(None)

    async def _play(self) -> None:
        await self._released.wait()
        step = self._config.output_rate * PIECE_MS // 1000 * BYTES_PER_SAMPLE
        while (pcm := await self._audio.get()) is not None:
            for start in range(0, len(pcm), step):
                piece = pcm[start : start + step]
                await self.clock.until_lead_below(self._settings.lead_ms)
                self._emit(ReplyAudio(self.turn, piece))
                self.clock.sent(self._ms(piece))
                if self._stopwatch.mark("first_audio_sent"):
                    TURN_LATENCY.observe(sum(self._stopwatch.stages.values()) / 1e3)

    async def _animate(self) -> None:
        await self._released.wait()  # whoever watches the face sees what is heard, and nothing else
        if self._face is None:
            return
        frames = self._face.frames()
        try:
            async with aclosing(frames):
                async for frame in frames:
                    await self._show(frame)
        except (PeerError, Overloaded) as error:
            self._without_face(error)

    async def _follow(self) -> None:
        if self._config.animation:
            await self._released.wait()
            await self._engines.face.follow(self._session_id, self.turn, self.clock)

    async def _show(self, frame: AnimationHeader | Animation) -> None:
        if isinstance(frame, Animation):
            await self.clock.until_sent(frame.t_ms)
            if self.clock.played_ms() - frame.t_ms > self._settings.late_frame_ms:
                FRAMES_DROPPED.labels("late").inc()
                return
        self._emit(frame)

    def _to_face(self, give: Callable[[FaceStream], None]) -> None:
        if self._face is not None:
            try:
                give(self._face)
            except Overloaded as error:
                self._without_face(error)

    def _without_face(self, error: PeerError | Overloaded) -> None:
        """The reply goes on without its face; the fault is told once."""
        if self._face is not None:
            self._face = None
            FAULTS.labels(error.code).inc()
            self._emit(Error(error.code, str(error), error.retryable))

    def _ms(self, pcm: bytes) -> float:
        return len(pcm) * 1000 / (self._config.output_rate * BYTES_PER_SAMPLE)
