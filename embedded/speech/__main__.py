"""`python -m embedded.speech`: the embedded stand-in for a Riva server."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from embedded.speech.server import serve
from embedded.speech.settings import ENV_PREFIX, SpeechSettings
from shared.app import configure_logging
from shared.errors import VoxloopError
from shared.process import ensure_port_free, supervised
from shared.settings import load


def main() -> None:
    supervised()
    settings = load(SpeechSettings)
    configure_logging(settings.log_level)
    ensure_port_free(settings.host, settings.port, "the speech server", f"{ENV_PREFIX}PORT")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


if __name__ == "__main__":
    try:
        main()
    except VoxloopError as error:
        print(f"speech: {error}", file=sys.stderr)
        raise SystemExit(1) from None
