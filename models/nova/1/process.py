"""The engine's process: `python -m 1.process <socket> <options as JSON>` in the model's folder."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from .engine import Engine, Limits
from .messages import Broken, Inbox, Ready
from .options import Options
from .weights import BadModel, context_length


def main(descriptor: int, options: Options) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends us
    connection = Connection(descriptor)
    try:
        engine = _load(connection, options)
        engine.run()
    except BadModel as error:
        connection.send(Broken(str(error)))
    except Exception as error:
        connection.send(Broken(f"{type(error).__name__}: {error}"))
        raise
    os._exit(0)  # there is nothing to save, and OpenVINO would take a second to tidy up


def _load(connection: Connection, options: Options) -> Engine:
    model = Path(options.model)
    context = min(context_length(model), options.max_context)
    from .pipeline import OpenVinoPipeline, Tokens  # noqa: PLC0415 - half a second that a bad model need not take

    tokens = Tokens(model)
    pipeline = OpenVinoPipeline(model, tokens.tokenizer, options)
    connection.send(Ready(context))
    limits = Limits(context, options.max_running)
    return Engine(pipeline, tokens, limits, Inbox(connection), connection.send)


if __name__ == "__main__":
    main(int(sys.argv[1]), Options.from_json(sys.argv[2]))
