"""`python -m embedded.triton` becomes tritonserver, or says in one line why it cannot."""

from __future__ import annotations

import os
import sys

from embedded.triton import guardian
from embedded.triton.server import prepare
from embedded.triton.settings import TritonSettings
from shared.errors import VoxloopError
from shared.process import supervised
from shared.settings import load


def main() -> None:
    supervised()
    try:
        settings = load(TritonSettings)
        command, environment = prepare(settings)
    except VoxloopError as error:
        print(f"triton: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    guardian.start(os.getpid(), settings.host, settings.http_port, settings.start_s)
    os.execve(command[0], command, environment)  # noqa: S606 - no shell is what is meant


if __name__ == "__main__":
    main()
