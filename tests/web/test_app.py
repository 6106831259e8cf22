"""What a visitor sees and hears, in a real browser."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from tests.services.sophia.conftest import served
from tests.services.sophia.engines import scripted_engines
from tests.web.browser import Browser
from tests.web.cable import plugged
from tests.web.conftest import ELSEWHERE, OPEN, Visit

JAW = "it.face.shown.JawOpen"
LONG = [f" word{index}" for index in range(40)]
"""Ten seconds of reply."""


async def last_reply(visit: Visit) -> str:
    return await visit.page.text("#log .reply:last-of-type")


async def test_a_typed_turn_is_answered_in_text_sound_and_face(visit: Visit) -> None:
    visit.engines.nova.answer = ["Hello", " there", " my", " friend."]
    await visit.page.type("hello")
    await visit.until_state("speaking")
    await visit.module("app.js", f"while (({JAW} ?? 0) < 0.3) await new Promise(requestAnimationFrame);")
    await visit.until_state("ready")
    heard, queued = await visit.module("app.js", "return [it.speaker.heardMs, it.speaker.queuedMs];")
    assert heard == queued == 1000
    await visit.module("app.js", f"while ({JAW} > 0.02) await new Promise(requestAnimationFrame);")
    assert await visit.page.text("#log .user") == "hello"
    assert await last_reply(visit) == "Hello there my friend."


async def test_the_times_of_a_turn_are_shown_and_add_up(visit: Visit) -> None:
    for number in (1, 2):
        await visit.page.type(f"question {number}")
        await visit.page.until(f"document.querySelectorAll('#turns button').length === {number}")
        await visit.until_state("ready")
    figures = await visit.page.evaluate(
        "[...document.querySelectorAll('#waterfall tbody .figure')].map((cell) => Number(cell.textContent))"
    )
    assert len(figures) == 5  # typed: nothing had to be recognised; the last one is the browser's own
    total = float((await visit.page.text("#waterfall tfoot .figure")).removesuffix(" ms"))
    assert abs(sum(figures) - total) <= 0.5 * (len(figures) + 1)  # each is rounded
    await visit.page.click("#turns button:last-child")
    assert (await visit.page.text("#waterfall caption")).startswith("turn 1")


async def test_a_stopped_reply_is_silent_at_once_and_shows_what_was_heard(visit: Visit) -> None:
    visit.engines.nova.answer = LONG
    await visit.page.type("tell me a story")
    await visit.module("app.js", "while (it.speaker.heardMs < 700) await new Promise(requestAnimationFrame);")
    await visit.page.press("Escape")
    state = await visit.module(
        "app.js", "return [it.speaker.turn, it.speaker.queuedMs, it.face.waiting, it.face.state];"
    )
    assert state == [None, 0, 0, "ready"]
    await visit.page.until("document.querySelector('#log s')")
    struck = await visit.page.text("#log s")
    whole = "".join(LONG).strip()
    spoken = (await last_reply(visit)).removesuffix(struck)
    assert whole.startswith(spoken.strip())
    assert spoken.split()[:2] == ["word0", "word1"]
    assert whole == spoken + struck


async def test_speech_over_a_reply_hushes_it_and_words_end_it(visit: Visit) -> None:
    visit.engines.nova.answer = LONG
    await visit.page.type("tell me a story")
    await visit.until_state("speaking")
    await visit.page.click("#talk")
    await visit.until_state("hushed")
    visit.engines.recognition.interim("stop")
    await visit.page.until("document.querySelector('#log .partial')?.textContent === 'stop'")
    await visit.page.until("document.querySelector('#log s')")
    visit.engines.nova.answer = ["All right."]
    visit.engines.recognition.final("stop it")
    await visit.page.until("document.querySelectorAll('#log .reply').length === 2")
    assert await visit.page.evaluate("document.querySelector('#log .partial')") is None
    assert await visit.page.text("#log .user:nth-child(3)") == "stop it"


async def test_the_microphone_is_heard_at_16_khz(visit: Visit) -> None:
    await visit.page.click("#talk")
    await visit.page.until("document.querySelector('#talk').getAttribute('aria-pressed') === 'true'")
    await visit.engines.recognition.opened()
    await visit.page.until(
        "Number(getComputedStyle(document.querySelector('#talk')).getPropertyValue('--level')) > 0.3"
    )
    await visit.page.click("#talk")
    await visit.until_state("ready")
    assert any(visit.engines.recognition.received[0])


async def test_a_refusal_of_the_microphone_is_explained(visit: Visit) -> None:
    await visit.page.evaluate(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))"
    )
    await visit.page.click("#talk")
    await visit.page.until("document.querySelector('#notices p')")
    assert "Allow it in the address bar" in await visit.page.text("#notices")
    assert await visit.page.text("#talk-text") == "Talk"


async def test_another_language_goes_on_with_the_same_conversation(visit: Visit) -> None:
    await visit.page.type("hello")
    await visit.until_state("speaking")
    await visit.until_state("ready")
    visit.engines.recognition.refuse = (grpc.StatusCode.INVALID_ARGUMENT, "no model for de-DE")
    await visit.page.evaluate(
        "((select) => { select.value = 'de-DE'; select.dispatchEvent(new Event('change')); })"
        "(document.querySelector('#language'))"
    )
    await visit.page.until("document.querySelector('#connection').dataset.state === 'open'")
    await visit.page.type("guten Tag")
    await visit.until_state("speaking")
    assert visit.engines.nova.asked[-1][0] == ("user", "hello")
    await visit.page.click("#talk")
    await visit.page.until("document.querySelector('#notices p')")
    assert "no model for de-DE" in await visit.page.text("#notices")


async def test_a_turn_that_fails_says_why_and_the_next_one_works(visit: Visit) -> None:
    visit.engines.nova.fail_after = 1
    await visit.page.type("hello")
    await visit.page.until("document.querySelector('#log .failed small')")
    assert "nova" in await visit.page.text("#log .failed small")
    visit.engines.nova.fail_after = None
    await visit.page.type("again")
    await visit.until_state("speaking")
    await visit.until_state("ready")
    assert await last_reply(visit) == "Hello there."


@pytest.mark.parametrize("resume_s", [60.0, 0.001])
async def test_a_broken_connection_is_made_again(browser: Browser, resume_s: float) -> None:
    async with (
        scripted_engines() as engines,
        served(engines, resume_s=resume_s) as sophia,
        plugged(sophia.address) as cable,
        browser.open(f"http://{cable.address}/") as page,
    ):
        visit = Visit(page, sophia)
        await page.until(OPEN)
        engines.nova.answer = LONG
        await page.type("tell me a story")
        await visit.until_state("speaking")
        cable.cut()
        await page.until("document.querySelector('#log .failed small')")
        await page.until(OPEN)
        engines.nova.answer = ["Yes."]
        await page.type("are you there")
        await page.until("document.querySelectorAll('#log .reply').length === 2")
        await visit.until_state("ready")
        known = engines.nova.asked[-1][0] == ("user", "tell me a story")
        assert known == (resume_s > 1)
        assert ("no longer known" in await page.text("#notices")) == (not known)


async def test_a_page_from_elsewhere_explains_that_it_gets_no_microphone(
    browser: Browser, visit: Visit
) -> None:
    port = visit.sophia.address.split(":")[1]
    async with browser.open(f"http://{ELSEWHERE}:{port}/") as page:
        await page.until(OPEN)
        await page.click("#talk")
        await page.until("document.querySelector('#notices p')")
        assert "only to https pages and to localhost" in await page.text("#notices")
        await page.type("hello")  # all else works
        await page.until("document.querySelector('#stage').dataset.state === 'speaking'")


async def test_all_of_it_can_be_reached_by_keyboard(visit: Visit) -> None:
    visit.engines.synthesis.hold = asyncio.Event()
    await visit.page.type("hello")
    await visit.until_state("thinking")
    reached = set()
    for _ in range(8):
        await visit.page.press("Tab", windowsVirtualKeyCode=9)
        reached.add(
            await visit.page.evaluate("document.activeElement.id || document.activeElement.textContent")
        )
    assert {"language", "talk", "hush", "log", "text", "Send"} <= reached


async def test_a_narrow_screen_needs_no_sideways_scrolling(visit: Visit) -> None:
    await visit.page.call(
        "Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=2, mobile=True
    )
    visit.engines.nova.answer = ["A" * 300]
    await visit.page.type("b" * 300)
    await visit.page.until("document.querySelector('#waterfall').hidden === false")
    assert await visit.page.evaluate("document.documentElement.scrollWidth") == 320


async def test_a_server_that_asks_for_a_key_gets_it_from_the_visitor(browser: Browser) -> None:
    """(Its console does complain here: of the handshakes that were refused.)"""
    refused = "document.querySelector('#connection').textContent === 'this key is not accepted'"
    async with (
        scripted_engines() as engines,
        served(engines, api_keys="sesame") as sophia,
        browser.open(f"http://{sophia.address}/") as page,
    ):
        for key, outcome in (("wrong", refused), ("sesame", OPEN)):
            await page.until("document.querySelector('#locked')?.open")
            await page.evaluate("document.querySelector('#key').focus()")
            await page.call("Input.insertText", text=key)
            await page.press("Enter", text="\r", windowsVirtualKeyCode=13)
            await page.until(outcome)


async def test_a_page_that_fell_asleep_wakes_at_a_touch(browser: Browser) -> None:
    async with (
        scripted_engines() as engines,
        served(engines, idle_s=2) as sophia,
        browser.open(f"http://{sophia.address}/") as page,
    ):
        await page.until("document.querySelector('#connection')?.dataset.state === 'idle'")
        await page.click("#face")
        await page.until(OPEN)
        assert page.problems == []
