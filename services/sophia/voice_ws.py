"""`/sophia/voice`: binary messages are PCM16 mono both ways, text messages are JSON with a `type`."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from fastapi import WebSocket

from services.sophia.connection import CLOSE_NORMAL, MESSAGE_S, TURN_S, EndedError, flush, hear
from services.sophia.events import Error, Event, ReplyAudio, SessionStarted
from services.sophia.history import History, HistoryStore
from services.sophia.session import Session
from services.sophia.sessions import Sessions
from services.sophia.voice_messages import (
    Cancel,
    Playback,
    SessionEnd,
    SessionStart,
    Text,
    ToolResult,
    encode,
    parse,
)
from services.sophia.wire import Wire
from shared.audio import RATE
from shared.errors import InputError, PeerError


class VoiceWire(Wire):
    def __init__(self, socket: WebSocket, sessions: Sessions) -> None:
        super().__init__(socket, sessions)
        self._rate = RATE  # of the microphone
        self._token = ""

    @staticmethod
    def refusal(error: Error) -> str:
        return encode(error)

    def _obey(self, text: str, data: bytes | None, /) -> Awaitable[None]:
        if data is None:
            return self._command(text)
        return hear(self._opened(), data, self._rate, self._pace)

    def _complain(self, error: InputError | PeerError, _: str, /) -> None:
        self._outbox.put(Error(error.code, str(error), error.retryable))

    async def _command(self, text: str) -> None:
        await self._pace.spend(MESSAGE_S)
        limit = self._sessions.settings.max_text_chars
        match command := parse(text):
            case SessionStart():
                if self._session is not None:
                    raise InputError("the session has started already")
                if len(command.system) > limit:
                    raise InputError(f"system: more than {limit} characters")
                await self._sessions.check(command.config())
                self._opened(command)
            case Text():
                if len(command.text) > limit:
                    raise InputError(f"text: more than {limit} characters")
                self._opened().text(command.text)
                await self._pace.spend(TURN_S)
            case ToolResult():
                self._opened().replies.tool_output(command.call_id, command.output)
            case Playback():
                self._opened().replies.playback(command.played_ms)
            case Cancel():
                self._opened().cancel()
            case SessionEnd():
                await flush(self._outbox)
                raise EndedError(CLOSE_NORMAL)

    def _opened(self, start: SessionStart | None = None) -> Session:
        """The session; opened by `session.start`, or with its defaults by whatever comes first."""
        if self._session is None:
            start = start or SessionStart(type="session.start")
            history = self._sessions.take_up(start.resume) if start.resume else None
            self._session = self._sessions.begin(start.config(), self._outbox, self._tasks, history)
            self._rate = start.sample_rate
            self._token = HistoryStore.new_token()
            self._sessions.live[self._token] = partial(self._hand_over, self._session)
            self._outbox.put(SessionStarted(self._session.id, self._token, start.output_sample_rate))
        return self._session

    def _hand_over(self, session: Session) -> History:
        """The client is back on another connection, before this one was seen to be broken."""
        session.close()
        self._outbox.close("the session goes on elsewhere")
        return session.history

    def _on_closed(self, code: int) -> None:
        is_ours = self._sessions.live.pop(self._token, None) is not None
        if is_ours and self._session is not None and code != CLOSE_NORMAL:
            self._sessions.store.keep(self._token, self._session.history)

    async def _send(self, event: Event) -> None:
        self._activity.note()
        if isinstance(event, ReplyAudio):
            await self._socket.send_bytes(event.pcm)
        else:
            await self._socket.send_text(encode(event))
