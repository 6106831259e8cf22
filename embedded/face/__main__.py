"""`python -m embedded.face`: an Audio2Face-3D-compatible server that needs no GPU."""

from __future__ import annotations

import asyncio
import logging
import sys

import uvloop

from embedded.face.server import serve
from embedded.face.settings import FaceSettings
from shared import process, settings
from shared.errors import VoxloopError


def main() -> None:
    process.supervised()
    try:
        config = settings.load(FaceSettings)
        logging.basicConfig(
            level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(config))
    except VoxloopError as error:
        print(f"face: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
