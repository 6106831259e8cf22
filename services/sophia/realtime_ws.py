"""`/v1/realtime`: the session core, spoken to as OpenAI's realtime clients speak."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass

import orjson
from fastapi import WebSocket

from services.sophia.connection import MESSAGE_S, TURN_S, hear
from services.sophia.events import Error, Event, TranscriptFinal, Verbatim
from services.sophia.realtime_conversation import Conversation
from services.sophia.realtime_events import (
    RATE,
    Append,
    CallOutput,
    Clear,
    Commit,
    ItemCreate,
    RefusedError,
    ResponseCancel,
    ResponseCreate,
    SessionUpdate,
    Truncate,
    event_id_of,
    parse,
    session_object,
)
from services.sophia.realtime_items import Message, Utterance, new_id
from services.sophia.session import Session
from services.sophia.session_config import SessionConfig
from services.sophia.sessions import Sessions
from services.sophia.wire import Wire
from shared.audio import duration_s
from shared.errors import InputError, Overloaded, PeerError, VoxloopError
from shared.openai_errors import error_body

MIN_COMMIT_S = 0.1
"""OpenAI's own bound: a buffer that holds less is empty."""


@dataclass
class Pending:
    """An utterance that was committed, and waits for the end of its transcript."""

    utterance: Utterance
    seconds: float
    is_asked: bool = False
    """A response waits for it as well, in `asked`'s way where that is given."""
    asked: SessionConfig | None = None


class RealtimeWire(Wire):
    def __init__(self, socket: WebSocket, sessions: Sessions) -> None:
        super().__init__(socket, sessions)
        self._id = new_id("sess")
        named = socket.query_params.get("model", "")[:100]
        self._model = named or sessions.settings.nova_model or "voxloop"
        self._conversation = Conversation(SessionConfig(RATE, RATE, hands_over=True))
        self._pending: Pending | None = None
        self._tell([{"type": "session.created", "session": self._describe()}])

    @staticmethod
    def refusal(error: Error) -> str:
        kind = "rate_limit_error" if error.code == Overloaded.code else "api_error"
        told = {"type": kind, "code": error.code, "message": error.message, "param": None, "event_id": None}
        return _encode({"type": "error", "error": told})

    def _tell(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._outbox.put(Verbatim(message))

    async def _send(self, event: Event) -> None:
        self._activity.note()
        for message in self._conversation.of(event):
            await self._socket.send_text(_encode(message))
        if isinstance(event, TranscriptFinal):
            self._on_final(event.text)

    def _opened(self) -> Session:
        """The session; opened by the first message that needs it, so that an update before has its say."""
        if self._session is None:
            self._session = self._sessions.begin(self._conversation.config, self._outbox, self._tasks)
        return self._session

    def _describe(self) -> Message:
        conversation = self._conversation
        return session_object(
            self._id,
            self._model,
            conversation.config,
            self._sessions.settings,
            detects_turns=conversation.detects_turns,
        )

    # What the client says

    def _obey(self, text: str, _: bytes | None, /) -> Awaitable[None]:
        return self._command(text)

    def _complain(self, error: InputError | PeerError, text: str, /) -> None:
        self._tell([_error(error, event_id_of(text))])

    async def _command(self, text: str) -> None:
        await self._pace.spend(MESSAGE_S)
        match command := parse(text):
            case Append():
                await self._append(command.pcm())
            case SessionUpdate():
                await self._update(command)
            case ItemCreate():
                self._create_item(command)
                await self._pace.spend(TURN_S)
            case ResponseCreate():
                await self._create_response(command)
                await self._pace.spend(TURN_S)
            case ResponseCancel():
                self._cancel(command)
            case Truncate():
                self._truncate(command)
            case Commit():
                await self._commit()
            case Clear():
                await self._clear()

    async def _update(self, command: SessionUpdate) -> None:
        conversation, fields = self._conversation, command.session
        config = fields.applied_to(conversation.config, self._sessions.settings.max_text_chars)
        await self._sessions.check(config)
        if self._session is not None:
            if config.language != conversation.config.language:
                raise RefusedError(
                    "the language is chosen before the first audio, item or response",
                    param="session.audio.input.transcription.language",
                )
            self._session.configure(config)
        conversation.config = config
        if fields.names_turn_detection:
            conversation.detects_turns = fields.detects_turns
        self._tell([{"type": "session.updated", "session": self._describe()}])

    async def _append(self, pcm: bytes) -> None:
        self._conversation.fed_s += duration_s(pcm, RATE)
        await hear(self._opened(), pcm, RATE, self._pace)

    def _create_item(self, command: ItemCreate) -> None:
        if command.previous_item_id not in (None, self._conversation.last_item):
            raise RefusedError("items can only be added at the end", param="previous_item_id")
        if isinstance(command.item, CallOutput):
            self._take_output(command.item)
            return
        text, limit = command.item.text, self._sessions.settings.max_text_chars
        if not text:
            raise RefusedError("an item needs some text", param="item.content")
        if len(text) > limit:
            raise RefusedError(f"an item holds at most {limit} characters", param="item.content")
        self._opened().replies.add(command.item.role, text)
        self._tell(self._conversation.typed(command.item.id or new_id("item"), command.item.role, text))

    def _take_output(self, item: CallOutput) -> None:
        limit = self._sessions.settings.max_tool_chars
        if len(item.output) > limit:
            raise RefusedError(f"an output holds at most {limit} characters", param="item.output")
        self._opened().replies.tool_output(item.call_id, item.output)
        self._tell(self._conversation.output(item.id or new_id("item"), item.call_id, item.output))

    async def _create_response(self, command: ResponseCreate) -> None:
        config = None
        if command.response is not None:
            limit = self._sessions.settings.max_text_chars
            config = command.response.applied_to(self._conversation.config, limit)
            await self._sessions.check(config)
        if self._pending is not None and not self._pending.is_asked:
            self._pending.is_asked, self._pending.asked = True, config
        elif self._pending is not None or self._opened().replies.answering is not None:
            raise RefusedError(
                "a response is being made already", reason="conversation_already_has_active_response"
            )
        else:
            self._respond(config)

    def _respond(self, config: SessionConfig | None) -> None:
        session = self._opened()
        session.respond(config)
        if config is not None and session.replies.answering is not None:
            self._conversation.own_configs[session.replies.answering] = config

    def _cancel(self, command: ResponseCancel) -> None:
        if self._pending is not None and self._pending.is_asked:
            self._pending.is_asked = False
            return
        turn = self._session.replies.answering if self._session is not None else None
        if command.response_id is not None:
            response = self._conversation.response(response_id=command.response_id)
            turn = turn if response is not None and response.turn == turn else None
        if turn is None or self._session is None:
            raise RefusedError("no such response is being made", reason="response_cancel_not_active")
        self._conversation.client_ended.add(turn)
        self._session.cancel()

    def _truncate(self, command: Truncate) -> None:
        response = self._conversation.response(item_id=command.item_id)
        if response is None or self._session is None:
            raise RefusedError("the item is unknown, or older than the last reply", param="item_id")
        if self._session.replies.answering == response.turn:
            self._conversation.client_ended.add(response.turn)
        if not self._session.replies.truncate(response.turn, command.audio_end_ms):
            raise RefusedError("the item is older than the last reply", param="item_id")
        place = {"item_id": command.item_id, "content_index": 0, "audio_end_ms": command.audio_end_ms}
        self._tell([{"type": "conversation.item.truncated", **place}])

    # The buffer of a client that says itself where its turns end

    async def _commit(self) -> None:
        conversation = self._conversation
        seconds = conversation.fed_s - conversation.buffer_s
        if seconds < MIN_COMMIT_S:
            raise RefusedError(
                f"the buffer holds less than {MIN_COMMIT_S * 1e3:.0f} ms of audio",
                reason="input_audio_buffer_commit_empty",
            )
        if self._pending is not None:
            raise RefusedError("what was committed before is still being transcribed")
        all_heard = self._opened().end_utterance()
        if conversation.detects_turns:
            return  # its final commits it
        utterance, messages = conversation.commit()
        self._tell(messages)
        self._pending = Pending(utterance, seconds)
        self._tasks.create_task(self._transcribe(self._opened(), all_heard))

    async def _transcribe(self, session: Session, all_heard: asyncio.Future[None]) -> None:
        """Wait for the end of what was committed; what has not come by its deadline never will.

        A final alone is no end: it may be the one of what was said before a pause.
        """
        await asyncio.wait([all_heard], timeout=self._sessions.settings.speech_deadline_s)
        await self._outbox.until_empty()  # what was heard by now counts
        if not all_heard.done():
            session.forget_utterance()
        self._complete()

    async def _clear(self) -> None:
        conversation = self._conversation
        conversation.buffer_s = conversation.fed_s
        if not conversation.detects_turns and self._pending is None:
            await self._outbox.until_empty()
            self._opened().forget_utterance()
            conversation.dictation.take()
        self._tell([{"type": "input_audio_buffer.cleared"}])

    def _on_final(self, text: str) -> None:
        if self._conversation.detects_turns and not self._conversation.config.answers:
            self._opened().replies.add("user", text)

    def _complete(self) -> None:
        """The transcript of what was committed is there, or has had its time."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        text = self._conversation.dictation.take()
        if text:
            self._opened().replies.add("user", text)
        self._tell(pending.utterance.completed(text, pending.seconds))
        if pending.is_asked:
            try:
                self._respond(pending.asked)
            except InputError as error:
                self._tell([_error(error, None)])


def _error(error: VoxloopError, event_id: str | None) -> Message:
    told = error_body(error)["error"] | {"event_id": event_id}
    if isinstance(error, RefusedError):
        told |= {"code": error.reason, "param": error.param}
    return {"type": "error", "error": told}


def _encode(message: Message) -> str:
    return orjson.dumps({"event_id": new_id("event"), **message}).decode()
