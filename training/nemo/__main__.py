"""The steps that `voxloop model finetune` and `voxloop model export` have run for them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.nemo.problem import Problem


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.nemo", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    probe = steps.add_parser("probe", help="say what this environment and its GPUs are, and what is too long")
    train = steps.add_parser("train", help="train on the CPU, or go on from the last checkpoint")
    merge = steps.add_parser("merge", help="base model and adapter to one Hugging Face folder")
    to_gguf = steps.add_parser("gguf", help="a Hugging Face folder to one GGUF file in Q8_0")
    for step in (probe, train):
        step.add_argument("recipe", type=Path, help="as `voxloop model finetune` has written it")
    probe.add_argument("--cpu", action="store_true", help="do without a GPU")
    merge.add_argument("base")
    merge.add_argument("adapter", type=Path)
    for step in (merge, to_gguf):
        step.add_argument("--out", type=Path, required=True)
    to_gguf.add_argument("folder", type=Path)
    return parser.parse_args()


def main() -> None:
    """A step imports only its own: `probe` must run, and say so, where a part of the others is missing."""
    given = arguments()
    if given.step == "probe":
        from training.nemo.probe import probe  # noqa: PLC0415

        print(probe(given.recipe, given.cpu))
    elif given.step == "train":
        from training.nemo.train import train  # noqa: PLC0415

        train(given.recipe)
    elif given.step == "merge":
        from training.nemo.merge import merge  # noqa: PLC0415

        merge(given.base, given.adapter, given.out)
    else:
        from training.nemo.to_gguf import to_gguf  # noqa: PLC0415

        to_gguf(given.folder, given.out)


if __name__ == "__main__":
    try:
        main()
    except (Problem, ImportError, OSError) as error:
        sys.exit(f"problem: {' '.join(str(error).split())}")
