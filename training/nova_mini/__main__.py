"""The steps of nova-mini, one command each: data, train, export, evaluate; huggingface to fine-tune it."""

from __future__ import annotations

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = Path(__file__).parent / "work"
GGUF = ROOT / "models" / "nova" / "1" / "nova-mini.gguf"
SHARDS = 100


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.nova_mini", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    data = steps.add_parser("data", help="make dialogues, tokenizer and packed rows")
    data.add_argument("--seed", type=int, default=7)
    data.add_argument("--shards", type=int, default=SHARDS, help="of 10 000 dialogues each")
    train = steps.add_parser("train", help="train, or go on from the checkpoint")
    train.add_argument("--steps", type=int, help="updates; fewer make a worse model sooner")
    train.add_argument("--rows", type=int, help="rows of 1024 tokens in an update")
    export = steps.add_parser("export", help="write the GGUF file")
    folder = steps.add_parser("huggingface", help="write the GGUF as a Hugging Face folder")
    folder.add_argument("--out", type=Path, default=ROOT / "exported" / "nova-mini")
    evaluate = steps.add_parser("evaluate", help="let the GGUF answer the exams, as it is served")
    evaluate.add_argument(
        "--json", type=Path, default=WORK / "evaluation.json", help="where figures and answers go"
    )
    evaluate.add_argument("--every", type=int, default=1, help="ask only one in so many questions")
    evaluate.add_argument("--nova", help="of this running nova, by its URL")
    for step in (data, train, export, folder, evaluate):
        step.add_argument("--work", type=Path, default=WORK, help="folder of everything in between")
    for step in (export, folder, evaluate):
        step.add_argument("--gguf", type=Path, default=GGUF)
    return parser.parse_args()


def main() -> None:
    """A step imports only its own: training needs torch, evaluation openvino-genai, no place has both."""
    given = arguments()
    if given.step == "data":
        from training.nova_mini.data import prepare  # noqa: PLC0415

        prepare(given.work, given.seed, given.shards)
    elif given.step == "train":
        from training.nova_mini.train import Plan, Trainer  # noqa: PLC0415

        chosen = {name: getattr(given, name) for name in ("steps", "rows") if getattr(given, name)}
        Trainer(given.work, Plan(**chosen)).train()
    elif given.step == "export":
        from training.nova_mini.export import export  # noqa: PLC0415

        export(given.work, given.gguf)
    elif given.step == "huggingface":
        from training.nova_mini.huggingface import write  # noqa: PLC0415

        write(given.gguf, given.out)
    else:
        from training.nova_mini.evaluate import Served, ThroughNova, evaluate  # noqa: PLC0415

        model = ThroughNova(given.nova) if given.nova else Served(given.gguf)
        evaluate(given.gguf, given.json, model, given.every)


if __name__ == "__main__":
    main()
