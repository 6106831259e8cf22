"""A recognition process: frames in on stdin, frames out on stdout. Ends when stdin does.

pocketsphinx holds the GIL while it searches, so it may not live in the server's process.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections import deque
from contextlib import suppress

from embedded.speech.decoder import Recogniser
from embedded.speech.frames import Frame, FrameReader, Kind
from embedded.speech.results import OPTIONS, RESULT, Result
from shared.process import die_with_parent

READ = 1 << 16


class Inbox:
    """Frames from the server. `arrived` looks without waiting, so that work can be given up early."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._reader = FrameReader()
        self._frames: deque[Frame] = deque()
        self._ended = False

    def next(self) -> Frame | None:
        """The next frame; None when the server has gone."""
        while not self._frames and not self._ended:
            self._read()
        return self._frames.popleft() if self._frames else None

    def arrived(self, *kinds: Kind) -> bool:
        while not self._ended and select.select([self._fd], [], [], 0)[0]:
            self._read()
        return any(frame.kind in kinds for frame in self._frames)

    def _read(self) -> None:
        data = os.read(self._fd, READ)
        self._ended = not data
        self._frames.extend(self._reader.feed(data))


class Worker:
    def __init__(self, inbox: Inbox, out_fd: int) -> None:
        self._inbox = inbox
        self._out = out_fd
        self._recogniser = Recogniser()
        self._utterance = 0
        self._interim = True
        self._guess: Result | None = None

    def run(self) -> None:
        self._send(Kind.READY)
        while (frame := self._inbox.next()) is not None:
            if frame.kind is Kind.OPEN:
                self._open(frame)
            elif frame.utterance == self._utterance:
                self._handle(frame)

    def _open(self, frame: Frame) -> None:
        options = OPTIONS.validate_json(frame.body)
        self._utterance, self._interim, self._guess = frame.utterance, options.interim, None
        self._recogniser.open(options)

    def _handle(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.AUDIO:
                self._recogniser.feed(frame.body)
                self._report()
            case Kind.PAUSE if not self._inbox.arrived(Kind.RESUME, Kind.DROP):
                self._guess = self._recogniser.final()
                self._send_result(Kind.GUESS, self._guess)
            case Kind.RESUME:
                self._guess = None
            case Kind.CLOSE:
                if not self._inbox.arrived(Kind.DROP):
                    self._send_result(Kind.FINAL, self._guess or self._recogniser.final())
                self._end()
            case Kind.DROP:
                self._end()
            case _:
                pass

    def _report(self) -> None:
        """A partial, unless more sound waits already, and the next one will say the same and more, or
        a guess stands, which is better than any."""
        if self._interim and not self._guess and not self._inbox.arrived(Kind.AUDIO, Kind.CLOSE, Kind.DROP):
            self._send_result(Kind.PARTIAL, self._recogniser.partial())

    def _end(self) -> None:
        self._recogniser.drop()
        self._utterance, self._guess = 0, None

    def _send_result(self, kind: Kind, result: Result | None) -> None:
        if result is not None:
            self._send(kind, RESULT.dump_json(result))

    def _send(self, kind: Kind, body: bytes = b"") -> None:
        data = memoryview(Frame(kind, self._utterance, body).pack())
        while data:
            data = data[os.write(self._out, data) :]


def main() -> None:
    die_with_parent()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the server ends us by stdin
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing that a library prints may look like a frame
    with suppress(BrokenPipeError):  # the server may end while we answer
        Worker(Inbox(sys.stdin.fileno()), out).run()


if __name__ == "__main__":
    main()
