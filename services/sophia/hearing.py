"""One session's ear: a recognition stream that outlives Riva's restarts.

The audio of an utterance that has no final yet is kept, so a new stream hears it from its
beginning; what has its final is never heard again. Audio is never waited for: when Riva is slower
than real time, the oldest is dropped and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import grpc
import grpc.aio
from riva.client.proto import riva_asr_pb2 as asr

from services.sophia.events import Word
from services.sophia.metrics import AUDIO_DROPPED
from services.sophia.riva import Listening, RecognizeCall, Riva
from shared.audio import duration_s
from shared.deadline import Deadline
from shared.errors import PeerError, PeerRefused, PeerTimeout, first_of
from shared.verdict import Verdict

PRE_ROLL_S = 0.6
"""Kept from before the speech, so that a new stream does not miss its first sound."""
IDLE_S = 10.0
"""A stream that is sent nothing for this long is ended, and the next audio opens another: Riva loses the
place in one that idles, and a client that is mute needs none."""
QUIET_PIECE_S = 0.1
"""Where nobody speaks, audio goes to Riva in pieces of this length: each is a message, and costs one."""
WRITE_DEADLINE_S = 5.0
END_DEADLINE_S = 5.0
"""How long Riva may owe the final of a stream that was cut, and its end."""
WORKS_S = 1.0
"""A stream that takes audio for so long works, though nobody said a word: what breaks it is a new fault."""
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.2, 2.0


@dataclass(frozen=True, slots=True)
class Heard:
    """A recognition result: an interim that may still change, or the final of an utterance."""

    text: str
    is_final: bool
    confidence: float
    words: tuple[Word, ...]


class Backlog:
    """Audio that a new stream would have to hear again, and audio that this one has yet to be sent."""

    def __init__(self, max_s: float) -> None:
        self._max_s = max_s
        self._kept: deque[bytes] = deque()
        self._kept_s = 0.0
        self._unsent: deque[bytes] = deque()
        self._unsent_s = 0.0
        self.fed_s = 0.0
        self._filled = asyncio.Event()
        self._marked: int | None = None  # of the unsent pieces, those that were there when it was asked for
        self.in_speech = False

    def feed(self, pcm: bytes, *, quiet: bool = False) -> None:
        """`quiet`: Riva may have this a little later."""
        length = duration_s(pcm)
        self.fed_s += length
        self._kept.append(pcm)
        self._kept_s += length
        while self._kept_s > (self._max_s if self.in_speech else PRE_ROLL_S) and len(self._kept) > 1:
            self._kept_s -= duration_s(self._kept.popleft())
        self._unsent.append(pcm)
        self._unsent_s += length
        while self._unsent_s > self._max_s:
            dropped = duration_s(self._unsent.popleft())
            self._unsent_s -= dropped
            AUDIO_DROPPED.inc(dropped)
        if not quiet or self._unsent_s >= QUIET_PIECE_S:
            self._filled.set()
        elif len(self._unsent) == 1:  # also where no more comes
            asyncio.get_running_loop().call_later(QUIET_PIECE_S, self._fill)

    def _fill(self) -> None:
        if self._unsent:
            self._filled.set()

    def take(self) -> bytes:
        """All that waits, in one piece; up to the mark where there is one."""
        if self._marked is not None:
            pcm = b"".join(self._unsent.popleft() for _ in range(min(self._marked, len(self._unsent))))
            self._marked = None
            self._unsent_s -= duration_s(pcm)
        else:
            pcm = self._unsent.popleft() if len(self._unsent) == 1 else b"".join(self._unsent)
            self._unsent.clear()
            self._unsent_s = 0.0
        if not self._unsent:
            self._filled.clear()
        return pcm

    def mark(self) -> None:
        """What was fed by now is taken next, and without waiting for more."""
        self._marked = len(self._unsent)
        self._filled.set()

    @property
    def is_empty(self) -> bool:
        return not self._kept and not self._unsent

    def forget_sent(self) -> None:
        """What was sent has its final."""
        self._kept, self._kept_s = self._unsent.copy(), self._unsent_s

    def forget(self) -> None:
        """All that was fed is dealt with."""
        self._unsent.clear()
        self._unsent_s, self._marked = 0.0, None
        self._filled.clear()
        self.forget_sent()

    def rewind(self) -> float:
        """Begin again with all that a new stream has to hear, of which the unsent is the newest part.

        Returns where in the session's audio that begins, in ms.
        """
        self._unsent, self._unsent_s, self._marked = self._kept.copy(), self._kept_s, None
        self._filled.set() if self._unsent else self._filled.clear()
        return (self.fed_s - self._kept_s) * 1e3

    async def until_filled(self) -> None:
        await self._filled.wait()


class Hearing:
    def __init__(
        self,
        riva: Riva,
        listening: Listening,
        on_heard: Callable[[Heard], None],
        on_fault: Callable[[PeerError], None],
        max_s: float,
    ) -> None:
        """Up to `max_s` of an utterance is kept, for a stream that has to hear it again."""
        self._riva = riva
        self._listening = listening
        self._on_heard = on_heard
        self._on_fault = on_fault
        self._backlog = Backlog(max_s)
        self._deaf = False
        self._cut: asyncio.Future[None] | None = None
        self._ended = False  # what the present stream is to hear, because of that
        self._forgotten = False  # what the present stream has to say
        self._reader: asyncio.Task[None] | None = None
        self._stream_began_ms = 0.0  # in the session's audio
        self._watching: asyncio.TimerHandle | None = None
        self._heard_any = False  # on the present stream
        self.fault: PeerError | None = None
        """Why nothing is heard at present: told once, when it came."""
        self._backoff_s = FIRST_BACKOFF_S

    def feed(self, pcm: bytes, *, in_speech: bool, quiet: bool = False) -> None:
        """PCM16 mono at 16 kHz; `in_speech` while an utterance is under way, `quiet` while none is near."""
        if not self._deaf:
            self._backlog.in_speech = in_speech
            self._backlog.feed(pcm, quiet=quiet)

    def cut(self) -> asyncio.Future[None]:
        """Ask for the final of what was said so far, by ending this stream in peace.

        Done once Riva has told all of it; where Riva fails meanwhile, by the next stream.
        """
        if (cut := self._cut) is None:
            cut = self._cut = asyncio.get_running_loop().create_future()
            is_idle = self._reader is None or self._reader.done()
            if self._deaf or (is_idle and self._backlog.is_empty):
                self._all_heard()
            else:
                self._backlog.mark()
        return cut

    def _all_heard(self) -> None:
        if self._cut is not None:
            self._cut.set_result(None)
            self._cut = None

    def forget(self) -> None:
        """What was fed so far is dealt with: whatever Riva still has to say of it is never heard."""
        self._backlog.forget()
        self._forgotten = True
        self._all_heard()
        if self._reader is not None:
            self._reader.cancel()

    async def run(self) -> None:
        """Recognise until cancelled. A fault is told once, then tried again until Riva is back."""
        while True:
            await self._backlog.until_filled()
            try:
                await self._listen()
            except PeerError as error:
                if self.fault is None:
                    self._on_fault(error)
                self.fault = error
                if isinstance(error, PeerRefused) and not self._heard_any:
                    self._deaf = True  # asking again would be refused again
                    self._all_heard()
                    return
                self._ended = False
            if not self._forgotten and not self._ended:
                # Also after an end in peace: Riva may end each stream as soon as it is opened.
                await asyncio.sleep(self._backoff_s)
                self._backoff_s = min(self._backoff_s * 2, MAX_BACKOFF_S)
            self._stream_began_ms = self._backlog.rewind()
            if self._backlog.is_empty:
                self._all_heard()

    async def _listen(self) -> None:
        """One recognition stream to its end. Raises PeerError."""
        call = self._riva.recognize()
        verdict = Verdict(call)
        self._heard_any = self._forgotten = self._ended = False
        if self._cut is not None:
            self._backlog.mark()
        self._watch()
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write(call))
                self._reader = tasks.create_task(self._read(call, verdict))
                await asyncio.wait([self._reader])
                writer.cancel()
            if self._ended:
                self._backlog.forget_sent()
                self._all_heard()
        except* PeerError as group:
            raise first_of(group) from None
        finally:
            call.cancel()
            if self._watching is not None:
                self._watching.cancel()

    def _watch(self, fed_s: float | None = None) -> None:
        """End a stream that has been sent nothing since it was watched last."""
        if fed_s == self._backlog.fed_s:
            self.cut()
            return
        again = partial(self._watch, self._backlog.fed_s)
        self._watching = asyncio.get_running_loop().call_later(IDLE_S, again)

    async def _read(self, call: RecognizeCall, verdict: Verdict) -> None:
        try:
            async for response in call:
                for result in response.results:
                    if result.alternatives:
                        self._take(result)
        except grpc.aio.AioRpcError as error:
            told = await verdict.of(error)
            if told.code() is not grpc.StatusCode.OK:  # Riva may also end a stream in peace
                raise await self._riva.fault(told) from None

    def _take(self, result: asr.StreamingRecognitionResult) -> None:
        self._heard_any, self.fault, self._backoff_s = True, None, FIRST_BACKOFF_S
        if result.is_final:
            self._backlog.forget_sent()
        self._on_heard(heard(result, round(self._stream_began_ms)))

    async def _write(self, call: RecognizeCall) -> None:
        try:
            async with Deadline(WRITE_DEADLINE_S) as deadline:
                with deadline:
                    await call.write(self._riva.configure(self._listening))
                works_from = time.monotonic() + WORKS_S
                while not self._ended:
                    await self._backlog.until_filled()
                    self._ended = self._cut is not None
                    if pcm := self._backlog.take():
                        with deadline:
                            await call.write(asr.StreamingRecognizeRequest(audio_content=pcm))
                    if self.fault is not None and time.monotonic() >= works_from:
                        self.fault = None
                with deadline:
                    await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the reading side has the same error, with its reason
        except TimeoutError:
            raise PeerTimeout("riva", f"took no audio for {WRITE_DEADLINE_S:g} s") from None
        await asyncio.sleep(END_DEADLINE_S)  # the end of the stream, when the reading side sees it, ends this
        self._all_heard()  # by a Riva that ends no stream; the next one is left open
        raise PeerTimeout("riva", f"did not end a stream within {END_DEADLINE_S:g} s")


def heard(result: asr.StreamingRecognitionResult, began_ms: int) -> Heard:
    best = result.alternatives[0]
    words = tuple(
        Word(word.word, began_ms + max(0, word.start_time), began_ms + max(0, word.end_time), word.confidence)
        for word in best.words
    )
    confidence = best.confidence if result.is_final else result.stability
    return Heard(best.transcript.strip(), result.is_final, confidence, words)
