"""Makes the recordings here: `python samples/make_question.py`. Needs the program flite (a Debian package).

The voice is flite's kal16. The recogniser understands it; espeak-ng's own voice it does not. Beside each
NAME.wav (16 kHz, 16 bit, mono) lies NAME.txt with what is said.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

HERE = Path(__file__).resolve().parent
RATE = 16000
VOICE = "kal16"
PEAK = 0.5
NOISE = 1e-4  # of full scale: a quiet room, because digital silence is no microphone's
BEFORE_S, AFTER_S = 0.3, 0.7

SENTENCES = {
    "question": "What is the capital of France?",
    "count": "Count from one to forty.",
    "interrupt": "Stop, what is two plus two?",
}


def speak(text: str) -> np.ndarray:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["flite", "-voice", VOICE, "-t", text, "-o", file.name], check=True)  # noqa: S603, S607
        samples, rate = soundfile.read(file.name, dtype="float64")
    if rate != RATE:
        raise SystemExit(f"flite's {VOICE} speaks at {rate} Hz, not {RATE}")
    return samples * (PEAK / np.abs(samples).max())


def main() -> None:
    for name, text in SENTENCES.items():
        said = np.concatenate([np.zeros(int(BEFORE_S * RATE)), speak(text), np.zeros(int(AFTER_S * RATE))])
        said += np.random.default_rng(0).normal(0, NOISE, len(said))
        soundfile.write(HERE / f"{name}.wav", said, RATE, subtype="PCM_16")
        (HERE / f"{name}.txt").write_text(text + "\n")
        print(f"{name}.wav {len(said) / RATE:.2f} s: {text}")


if __name__ == "__main__":
    main()
