"""Nothing that anybody says, and no key, is ever written down: not even by a log that tells all."""

from __future__ import annotations

import base64

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.services.sophia.conftest import Client, process
from tests.services.sophia.engines import Scripted
from tests.shared.test_tokens import SECRET, token

KEY = "sesame-of-the-test"
NAME = base64.urlsafe_b64encode(KEY.encode()).rstrip(b"=").decode()
AUDIO = b"\x12\x34\x56\x78" * 800
SAID = ("tangerine", "persimmon", "typed quince", "spoken medlar")
"""The system prompt, the answer, a typed turn and a spoken one."""


async def test_a_whole_conversation_leaves_no_word_no_sound_and_no_key_in_the_log(engines: Scripted) -> None:
    engines.nova.answer = [SAID[1]]
    jwt = token()
    async with process(engines, log_level="debug", api_keys=KEY, jwt_secret=SECRET) as sophia:
        url = f"ws://{sophia.address}/sophia/voice"
        names = [Subprotocol("voxloop"), Subprotocol(f"voxloop.key.{NAME}")]
        async with connect(url, proxy=None, subprotocols=names) as socket:
            client = Client(socket)
            await client.send(type="session.start", system=SAID[0])
            await client.send(type="text", text=SAID[2])
            await client.until("reply.done")
            await client.send(
                type="playback", played_ms=1e6
            )  # heard to its end: a tone is no word over a reply
            await client.say(AUDIO)
            await engines.recognition.opened()
            engines.recognition.final(SAID[3])
            await client.until("reply.done")
            engines.nova.fail_after = 0
            await client.send(type="text", text=SAID[2])
            await client.until("error")
            await client.send(type="text", text={"wrong": SAID[2]})
            await client.until("error")
            await client.send(type="session.end")
        async with connect(url, proxy=None, additional_headers={"Authorization": f"Bearer {jwt}"}):
            pass
        with pytest.raises(InvalidStatus):
            await connect(url, proxy=None)
        async with httpx.AsyncClient(trust_env=False) as http:
            await http.get(f"http://{sophia.address}/docs", headers={"Authorization": f"Bearer {KEY}"})
        sophia.terminate()
        assert await sophia.ended() == 0

    assert sum(text == SAID[2] for asked in engines.nova.asked for _, text in asked) >= 2, "it was said"
    log = sophia.output.decode()
    assert "Finished server process" in log
    assert "without completing handshake" not in log, "a refusal is no error"
    for secret in (*SAID, KEY, NAME, SECRET, jwt, token().split(".", maxsplit=1)[0]):
        assert secret not in log
    for form in ("12 34 56 78", "12345678", r"\x124Vx", base64.b64encode(AUDIO).decode()[:16]):
        assert form not in log
