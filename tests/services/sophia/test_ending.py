"""How sessions are refused, and how they end: in silence, by their length, and with their server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from services.sophia.connection import (
    CLOSE_BUSY,
    CLOSE_EXPIRED,
    CLOSE_IDLE,
    CLOSE_RESTART,
    CLOSE_TOO_LONG,
    FLUSH_DEADLINE_S,
)
from services.sophia.settings import SophiaSettings
from shared.app import GRACE_S
from shared.audio import RATE, read_wav
from tests.conftest import ROOT
from tests.services.sophia.conftest import Client, Sophia, process, served
from tests.services.sophia.engines import Scripted
from voxloop.supervisor import GRACE_S as GRACE_OF_THE_SUPERVISOR_S

LONG = [f" word{index}" for index in range(400)]
"""A hundred seconds of reply."""


@pytest.fixture(scope="session")
def speech() -> bytes:
    """Real-sounding speech from its first word on, 16 kHz."""
    return read_wav(ROOT / "samples" / "question.wav")[RATE * 2 * 4 // 10 :]


async def closed(client: Client) -> int:
    """The code that the server closes with; what comes before it is kept in `events`."""
    with pytest.raises(ConnectionClosed) as caught:
        await client.until("never")
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


def told(client: Client, code: str) -> dict[str, Any]:
    """The last event, an error with this code."""
    error = client.events[-1]
    assert (error["type"], error["code"], error["retryable"]) == ("error", code, True)
    return error


def connected(sophia: Sophia) -> connect:
    return connect(f"ws://{sophia.address}/sophia/voice", proxy=None)


# Refusals


async def test_a_session_too_many_is_told_when_to_come_back(engines: Scripted) -> None:
    async with served(engines, max_sessions=1, retry_after_s=7) as sophia:
        async with sophia.session(), connected(sophia) as socket:
            client = Client(socket)
            assert await closed(client) == CLOSE_BUSY
            assert told(client, "overloaded")["retry_after_s"] == 7
        async with sophia.session() as client:
            await client.send(type="text", text="hello")
            await client.until("reply.done")


async def test_an_address_that_opens_too_many_sessions_is_refused_at_the_handshake(engines: Scripted) -> None:
    async with served(engines, opens_per_minute=2) as sophia:
        for _ in range(2):
            async with sophia.session():
                pass
        with pytest.raises(InvalidStatus) as caught:
            await connected(sophia)
    response = caught.value.response
    assert response.status_code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= 30
    assert b'"code":"overloaded"' in response.body


# Silence and length


@pytest.mark.parametrize("starts", [True, False])
async def test_a_session_in_which_nothing_happens_is_closed_with_a_word(
    engines: Scripted, starts: bool
) -> None:
    async with served(engines, idle_s=0.05) as sophia, connected(sophia) as socket:
        client = Client(socket)
        if starts:
            await client.send(type="session.start")
        assert await closed(client) == CLOSE_IDLE
        told(client, "idle")


async def test_a_reply_is_no_silence(engines: Scripted) -> None:
    engines.nova.answer = LONG[:8]
    async with served(engines, idle_s=0.6, lead_ms=100) as sophia, sophia.session() as client:
        await client.send(type="text", text="hello")
        assert await closed(client) == CLOSE_IDLE
        assert client.of("reply.done")


async def test_an_idle_session_is_taken_up_where_it_was(engines: Scripted) -> None:
    async with served(engines, idle_s=1) as sophia:
        async with sophia.session() as client:
            await client.send(type="text", text="one")
            assert await closed(client) == CLOSE_IDLE
        async with sophia.session(resume=client.events[0]["resume_token"]) as client:
            await client.send(type="text", text="two")
            await client.until("reply.done")
    assert engines.nova.asked[-1] == [("user", "one"), ("assistant", "Hello there."), ("user", "two")]


async def test_no_session_lasts_for_ever(engines: Scripted) -> None:
    engines.nova.endless = True
    async with served(engines, max_session_s=3) as sophia, sophia.session() as client:
        await client.send(type="text", text="hello")
        assert await closed(client) == CLOSE_TOO_LONG
        told(client, "session_too_long")
        async with asyncio.timeout(30):
            await engines.nova.cancelled.wait()


@pytest.mark.parametrize("path", ["/sophia/voice", "/v1/realtime"])
async def test_a_session_ends_with_the_token_that_opened_it(engines: Scripted, path: str) -> None:
    secret = "a secret of at least thirty-two bytes"
    async with served(engines, jwt_secret=secret) as sophia:
        bearer = "Bearer " + jwt.encode({"exp": time.time() + 2.5}, secret, "HS256")
        url, headers = f"ws://{sophia.address}{path}", {"authorization": bearer}
        async with connect(url, additional_headers=headers, proxy=None) as socket:
            client = Client(socket)
            assert await closed(client) == CLOSE_EXPIRED
        last = client.events[-1]
        assert last.get("error", last)["code"] == "token_expired"
        with pytest.raises(InvalidStatus):
            await connect(url, additional_headers=headers, proxy=None)


async def test_a_key_that_opened_a_session_does_not_expire(engines: Scripted) -> None:
    """Nor does a token beside it."""
    secret = "a secret of at least thirty-two bytes"
    async with served(engines, jwt_secret=secret, api_keys=["key"], idle_s=1.5) as sophia:
        headers = [
            ("authorization", "Bearer key"),
            ("authorization", "Bearer " + jwt.encode({"exp": time.time() + 1}, secret, "HS256")),
        ]
        url = f"ws://{sophia.address}/sophia/voice"
        async with connect(url, additional_headers=headers, proxy=None) as socket:
            assert await closed(Client(socket)) == CLOSE_IDLE


async def test_a_reply_without_end_is_cut_and_the_session_lives(engines: Scripted) -> None:
    engines.nova.endless = True
    async with served(engines, max_turn_s=3) as sophia, sophia.session() as client:
        await client.send(type="text", text="hello")
        error = await client.until("error")
        assert (error["code"], error["turn"]) == ("turn_too_long", 1)
        async with asyncio.timeout(30):
            await engines.nova.cancelled.wait()
        engines.nova.endless = False
        await client.send(type="text", text="again")
        assert (await client.until("reply.done"))["turn"] == 2


async def test_who_speaks_without_a_pause_is_answered_after_a_while(engines: Scripted, speech: bytes) -> None:
    ears = engines.recognition
    async with served(engines, max_utterance_s=0.5) as sophia, sophia.session() as client:
        await client.say(speech)
        error = await client.until("error")
        assert (error["code"], error["retryable"]) == ("utterance_too_long", False)
        await client.say(speech[:640])
        async with asyncio.timeout(30):
            await ears.ended.wait()
        ears.final("and so on and so on")
        ears.end()
        await client.until("reply.done")
        assert client.of("transcript.final")[0]["text"] == "and so on and so on"
        await client.say(speech[:6400])
        async with asyncio.timeout(30):
            while ears.streams < 2:  # noqa: ASYNC110 - the next stream hears what follows
                await asyncio.sleep(0.01)
        ears.final("next")
        while (await client.until("transcript.final"))["text"] != "next":
            pass


# A server that ends


def test_what_a_drain_takes_is_within_the_supervisors_patience() -> None:
    assert SophiaSettings().drain_s + FLUSH_DEADLINE_S + GRACE_S < GRACE_OF_THE_SUPERVISOR_S


async def test_on_sigterm_the_running_turn_finishes_and_the_idle_session_is_sent_on(
    engines: Scripted,
) -> None:
    engines.nova.answer = LONG[:32]
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        process(engines, drain_s=30, drain_to="wss://b.example/sophia/voice") as sophia,
        sophia.session() as talking,
        sophia.session() as idle,
    ):
        await talking.send(type="text", text="hello")
        await talking.until("reply.started")
        sophia.terminate()
        assert await closed(idle) == CLOSE_RESTART
        assert told(idle, "restarting")["go_to"] == "wss://b.example/sophia/voice"

        async with connected(sophia) as socket:  # new ones are refused, with the place to go
            new = Client(socket)
            assert await closed(new) == CLOSE_RESTART
            assert told(new, "restarting")["go_to"] == "wss://b.example/sophia/voice"
        readiness = await http.get(f"http://{sophia.address}/readyz")
        assert readiness.status_code == 503
        assert readiness.json()["dependencies"]["sessions"]["code"] == "overloaded"

        assert await closed(talking) == CLOSE_RESTART
        assert talking.of("reply.done")
        assert sum(len(event["pcm"]) for event in talking.of("audio")) == 8 * 16000 * 2
        told(talking, "restarting")
        assert await sophia.ended() == 0
    assert b"Traceback" not in sophia.output


async def test_a_turn_that_takes_too_long_to_finish_is_told_and_closed(engines: Scripted) -> None:
    engines.nova.answer = LONG
    async with process(engines, drain_s=0.2, retry_after_s=3) as sophia, sophia.session() as client:
        await client.send(type="text", text="hello")
        await client.until("audio")
        sophia.terminate()
        assert await closed(client) == CLOSE_RESTART
        error = told(client, "restarting")
        assert error["retry_after_s"] == 3
        assert "go_to" not in error
        assert await sophia.ended() == 0
    assert b"Traceback" not in sophia.output


async def test_what_is_being_said_counts_as_a_running_turn(engines: Scripted, speech: bytes) -> None:
    async with process(engines, drain_s=30) as sophia, sophia.session() as client:
        await client.say(speech)
        await client.until("speech.started")
        sophia.terminate()
        engines.recognition.final("what is up")
        assert await closed(client) == CLOSE_RESTART
        assert client.of("reply.done")
        assert await sophia.ended() == 0
