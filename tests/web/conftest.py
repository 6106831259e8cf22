"""The page in a real browser, on a sophia with scripted engines behind it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.services.sophia.conftest import Sophia, served
from tests.services.sophia.engines import Scripted, scripted_engines
from tests.web.browser import NAMES, Browser, Page, installed, running

QUESTION = ROOT / "samples" / "question.wav"
"""What the browser's microphone hears."""
ELSEWHERE = "voxloop.test"
"""A name of this machine that browsers do not trust as they trust localhost."""
OPEN = "document.querySelector('#connection')?.dataset.state === 'open'"


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    executable = installed()
    if executable is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        async with running(
            executable,
            Path(profile),
            f"--use-file-for-fake-audio-capture={QUESTION}",
            f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
        ) as browser:
            yield browser


@dataclass
class Visit:
    """The page as a visitor has it open, and what is behind it."""

    page: Page
    sophia: Sophia

    @property
    def engines(self) -> Scripted:
        return self.sophia.engines

    async def until_state(self, state: str) -> None:
        await self.page.until(f"document.querySelector('#stage').dataset.state === '{state}'")

    async def module(self, name: str, use: str) -> Any:
        """Evaluate `use`, the body of an async function in which `it` is this module of the page."""
        return await self.page.evaluate(f"import('./{name}').then(async (it) => {{ {use} }})")


@asynccontextmanager
async def visiting(browser: Browser) -> AsyncIterator[Visit]:
    """Ends with the demand that the browser had nothing to complain about."""
    async with scripted_engines() as engines, served(engines) as sophia:
        async with browser.open(f"http://{sophia.address}/") as page:
            await page.until(OPEN)
            yield Visit(page, sophia)
        assert page.problems == []


@pytest.fixture
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    """A visit from its beginning."""
    async with visiting(browser) as visit:
        yield visit


@pytest.fixture(scope="session")
async def guest(browser: Browser) -> AsyncIterator[Visit]:
    """A visit that lasts, to try single modules in."""
    async with visiting(browser) as visit:
        yield visit
