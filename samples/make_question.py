"""Make samples/*.wav from the *.txt beside them, with flite's kal16 voice (Debian's package flite).

    python samples/make_question.py

A quiet room before and after the words: 300 ms and 700 ms of faint noise, as a microphone has it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

FOLDER = Path(__file__).resolve().parent
BEFORE_S, AFTER_S = 0.3, 0.7
NOISE_DBFS = -72.0
SEED = 1


def speak(text: str) -> tuple[np.ndarray, int]:
    """Samples (float, mono) and their rate in Hz."""
    with tempfile.TemporaryDirectory() as scratch:
        wav = Path(scratch) / "speech.wav"
        try:
            command = ["flite", "-voice", "kal16", "-t", text, "-o", str(wav)]
            subprocess.run(command, check=True)  # noqa: S603 - a fixed program and our own text
        except FileNotFoundError:
            sys.exit("flite is not installed; on Debian: apt-get install flite")
        return soundfile.read(wav)


def main() -> None:
    noise = np.random.default_rng(SEED)
    for script in sorted(FOLDER.glob("*.txt")):
        speech, rate = speak(script.read_text().strip())
        padded = np.concatenate([np.zeros(int(BEFORE_S * rate)), speech, np.zeros(int(AFTER_S * rate))])
        padded += noise.standard_normal(len(padded)) * 10 ** (NOISE_DBFS / 20)
        soundfile.write(script.with_suffix(".wav"), padded, rate, subtype="PCM_16")
        print(f"{script.with_suffix('.wav').name}: {len(padded) / rate:.2f} s")


if __name__ == "__main__":
    main()
