"""The page's files, served at `/` under a strict policy and beside every other route."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT
from tests.services.sophia.conftest import Sophia, served
from tests.services.sophia.engines import Scripted

MIME = {
    ".html": {"text/html"},
    ".css": {"text/css"},
    ".js": {"text/javascript", "application/javascript"},
    ".svg": {"image/svg+xml"},
}
FILES = sorted(path.name for path in (ROOT / "web").iterdir())


@asynccontextmanager
async def browsing(sophia: Sophia) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{sophia.address}", trust_env=False) as client:
        yield client


async def test_the_root_is_the_page(sophia: Sophia) -> None:
    async with browsing(sophia) as client:
        answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.text == (ROOT / "web" / "index.html").read_text()


@pytest.mark.parametrize("name", FILES)
async def test_every_file_comes_with_its_type_and_under_the_policy(sophia: Sophia, name: str) -> None:
    async with browsing(sophia) as client:
        answer = await client.get(f"/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] in MIME[Path(name).suffix]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


async def test_an_unchanged_file_is_not_sent_again(sophia: Sophia) -> None:
    async with browsing(sophia) as client:
        first = await client.get("/app.js")
        again = await client.get("/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path", ["/nothing.js", "/../README.md", "/%2e%2e/README.md", "/..%2fREADME.md", "/a//b", "/%00"]
)
async def test_what_is_not_of_the_page_is_a_problem_document(sophia: Sophia, path: str) -> None:
    async with browsing(sophia) as client:
        answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


async def test_a_folder_is_not_listed(engines: Scripted, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("the page")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "note.txt").write_text("a note")
    async with served(engines, web=tmp_path) as sophia, browsing(sophia) as client:
        assert (await client.get("/")).text == "the page"
        assert (await client.get("/inner/note.txt")).text == "a note"
        assert (await client.get("/inner/")).status_code == 404


async def test_a_missing_page_says_what_to_set_and_nothing_else_suffers(
    engines: Scripted, tmp_path: Path
) -> None:
    async with served(engines, web=tmp_path / "none") as sophia, browsing(sophia) as client:
        answer = await client.get("/")
        assert answer.status_code == 404
        assert "SOPHIA_WEB" in answer.json()["detail"]
        assert str(tmp_path) not in answer.text
        async with sophia.session() as session:
            await session.send(type="text", text="hello")
            await session.until("reply.done")


async def test_the_page_hides_no_other_route(sophia: Sophia) -> None:
    async with browsing(sophia) as client:
        for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"):
            assert (await client.get(path)).status_code == 200, path
        assert (await client.post("/")).status_code == 405


async def test_behind_keys_the_page_comes_without_one_and_nothing_else_does(engines: Scripted) -> None:
    """A browser must show it before anybody can type a key."""
    async with served(engines, api_keys="sesame") as sophia, browsing(sophia) as client:
        for path in ("/", *(f"/{name}" for name in FILES)):
            assert (await client.get(path)).status_code == 200, path
        for path in ("/metrics", "/docs", "/openapi.json", "/nothing.js", "/app.js/", "/..%2fREADME.md"):
            assert (await client.get(path)).status_code == 401, path
        # by which the page finds out why its WebSocket was refused
        assert (await client.head("/openapi.json")).status_code == 401
        key = {"Authorization": "Bearer sesame"}
        assert (await client.head("/openapi.json", headers=key)).status_code == 200
