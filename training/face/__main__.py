"""Makes the network of the embedded face: speech, training, and what it is worth, in one command.

    python -m training.face                                      # embedded/face/network.npz
    python -m training.face --without rms --out /tmp/rms.npz     # another voice of flite left out, and judged

It needs `make setup` and Debian's `flite`. What it made is kept in training/face/work, and a call that was
ended goes on from there. The same seed says the same sentences in the same voices and trains the same way;
espeak-ng itself differs by some ms from one time to the next, and so networks are alike, not equal.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from embedded.face.network import WEIGHTS, Network, write
from training.face.corpus import made
from training.face.fit import Plan, Trainer
from training.face.voices import FLITE, Cast
from voxloop.bench.face_accuracy import SENTENCES, by_voice, utterances
from voxloop.bench.face_voices import FLITE_JUDGE, flite_says, has_flite
from voxloop.bench.report import Report

WORK = Path(__file__).parent / "work"
PARTS = 24
"""Of the speech, some nine minutes each."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.face",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--without", choices=FLITE, default=FLITE_JUDGE, help="flite's voice that is not heard, and judges"
    )
    parser.add_argument("--parts", type=int, default=PARTS, help="of speech, some nine minutes each")
    parser.add_argument("--epochs", type=int, default=Plan.epochs)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=WORK, help="folder of everything in between")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    given = parser.parse_args()
    if given.without != FLITE_JUDGE and given.out == WEIGHTS:
        parser.error(f"the face's network must not hear {FLITE_JUDGE}: name another file with --out")
    return given


def main() -> None:
    given = arguments()
    if not has_flite():
        raise SystemExit("flite is not installed: apt-get install flite")
    cast = Cast(given.without)
    speech = made(given.work / f"speech-{given.seed}-without-{given.without}", cast, given.seed, given.parts)
    print(f"{len(speech.judged) / 360_000:.1f} h of speech", flush=True)
    plan = Plan(epochs=given.epochs, seed=given.seed)
    checkpoint = given.work / f"{given.seed}-without-{given.without}-{given.parts}.npz"
    trainer = Trainer(speech, plan, checkpoint)
    trainer.train()
    write(given.out, trainer.network())
    judges = [*utterances(), *(flite_says(sentence, given.without) for sentence in SENTENCES)]
    Report("face", by_voice(judges, Network(given.out)), {}).show(Console(width=150))


if __name__ == "__main__":
    main()
