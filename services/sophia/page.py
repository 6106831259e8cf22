"""The page at `/`: the files of `web/`, under a policy that lets nothing in from elsewhere.

Its files need no API key, for they hold nothing that the source does not; the page asks for one when its
WebSocket is refused. (Away from localhost it needs a proxy with TLS in front: browsers lend a microphone
only to https.)
"""

from __future__ import annotations

import logging
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

log = logging.getLogger(__name__)

HEADERS = {
    # 'self' covers the page's own WebSocket too (CSP level 3).
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def paths(folder: Path) -> frozenset[str]:
    """Where the page's files are."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return frozenset({"/", *(f"/{name}" for name in files)})


def router(folder: Path) -> APIRouter:
    """Every GET that no other route takes, so this one comes last."""
    files = StaticFiles(directory=folder, html=True, check_dir=False)
    installed = (folder / "index.html").is_file()
    if not installed:
        log.warning("there is no page: %s has no index.html (SOPHIA_WEB names the folder)", folder)

    async def page(request: Request) -> Response:
        if not installed:
            raise HTTPException(
                404, "the page is not installed here: set SOPHIA_WEB to the folder `web` of Voxloop's source"
            )
        response = await files.get_response(files.get_path(request.scope), request.scope)
        response.headers.update(HEADERS)
        return response

    router = APIRouter()
    router.add_route("/{path:path}", page, methods=["GET"], include_in_schema=False)
    return router
