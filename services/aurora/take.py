"""The files of one recording, which lie beside each other under one name: .wav, and .usdc and .csv as asked.

Each is whole after every piece that was written: what ends the process costs the pieces not written yet.
"""

from __future__ import annotations

import csv
import os
import wave
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from shared.audio import BYTES_PER_SAMPLE

Format = Literal["usd", "csv"]
MAX_NAMESAKES = 1000


@dataclass(frozen=True)
class Face:
    """What all frames and all sound of one recording share."""

    names: tuple[str, ...]
    fps: float
    rate: int


@dataclass(frozen=True)
class Piece:
    """Some seconds of one turn: frames with their media times in it, and the sound from `start_s` on."""

    session: str
    turn: int
    face: Face
    start_s: float
    frames: tuple[tuple[float, Sequence[float]], ...]
    pcm: bytes


class Take:
    """Pieces put end to end: the turns of a session, without the time in which nobody speaks. `add` and
    the making of it raise OSError."""

    def __init__(self, folder: Path, name: str, face: Face, formats: tuple[Format, ...]) -> None:
        self.face = face
        self.seconds = 0.0
        self._samples = 0
        with ExitStack() as stack:
            wav = stack.enter_context(_create(folder, name))
            self._wav = stack.enter_context(wave.open(wav, "wb"))
            self._wav.setnchannels(1)
            self._wav.setsampwidth(BYTES_PER_SAMPLE)
            self._wav.setframerate(face.rate)
            path = Path(wav.name)
            self._writers: list[Callable[[Piece, float], None]] = []
            if "usd" in formats:
                self._writers.append(self._usd(path))
            if "csv" in formats:
                self._writers.append(self._csv(path, stack))
            self._file = wav
            self._open = stack.pop_all()

    def add(self, piece: Piece) -> None:
        begin_s = self.seconds
        self._wav.writeframes(piece.pcm)
        self._file.flush()
        self._samples += len(piece.pcm) // BYTES_PER_SAMPLE
        self.seconds = self._samples / self.face.rate
        for write in self._writers:
            write(piece, begin_s - piece.start_s)

    def close(self) -> None:
        self._open.close()

    def _usd(self, wav: Path) -> Callable[[Piece, float], None]:
        # The oldest version that has time codes; usd-core would begin with an older one and warn.
        os.environ.setdefault("USD_WRITE_NEW_USDC_FILES_AS_VERSION", "0.9.0")
        from services.aurora.usd import UsdFile  # noqa: PLC0415 - usd-core is an extra

        stage = UsdFile(wav.with_suffix(".usdc"), self.face.names, self.face.fps, wav.name)

        def write(piece: Piece, shift_s: float) -> None:
            stage.append(((t_s + shift_s, weights) for t_s, weights in piece.frames), self.seconds)

        return write

    def _csv(self, wav: Path, stack: ExitStack) -> Callable[[Piece, float], None]:
        file = stack.enter_context(wav.with_suffix(".csv").open("w", newline="", encoding="utf-8"))
        rows = csv.writer(file)
        rows.writerow(["time_s", "turn", *self.face.names])

        def write(piece: Piece, shift_s: float) -> None:
            for t_s, weights in piece.frames:
                row = [f"{t_s + shift_s:.6f}", piece.turn, *(f"{weight:.6f}" for weight in weights)]
                rows.writerow(row)
            file.flush()

        return write


def _create(folder: Path, name: str) -> BinaryIO:
    """A .wav that was not there; what lies beside it under the same name is ours to write then."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # voices are nobody else's to hear
    for number in range(1, MAX_NAMESAKES):
        path = folder / (f"{name}-{number}.wav" if number > 1 else f"{name}.wav")
        try:
            return path.open("xb")
        except FileExistsError:
            continue
    raise FileExistsError(f"{MAX_NAMESAKES} recordings bear the name {name}")
