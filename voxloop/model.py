"""`voxloop model`: which language model the embedded Triton serves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Column, Table

app = typer.Typer(help=__doc__, no_args_is_help=True)
console = Console()

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Show the aliases, what is downloaded, and which model is in use."""
    from voxloop import model_list, model_state
    from voxloop.model_catalog import aliases

    state = _state()
    rows = model_list.rows(aliases(), model_state.read(state))
    used = model_state.in_use(state)
    for row in rows:
        row["in_use"] = row["name"] == used.name
    if as_json:
        typer.echo(orjson.dumps({"in_use": used.model_dump(mode="json"), "models": rows}).decode())
        return
    table = Table("", "name", Column("repository", overflow="fold"), "revision", "size", "licence", "here")
    table.box, table.pad_edge = None, False
    for row in rows:
        size = f"{row['size_mb']} MB" if row["downloaded"] else f"~{row['size_mb']} MB"
        revision = str(row["revision"] or "newest")[:10]
        here = "yes" if row["downloaded"] else ""
        mark = "*" if row["in_use"] else ""
        table.add_row(
            mark, str(row["name"]), str(row["repo"] or ""), revision, size, str(row["licence"]), here
        )
    console.print(table)
    console.print(f"in use: {used.name} ({used.path})", highlight=False, soft_wrap=True)


@app.command("pull")
def pull_command(
    model: Annotated[str, typer.Argument(help="An alias, or OWNER/NAME; either with @REVISION.")],
    file: Annotated[
        list[str] | None, typer.Option(help="Pattern of the files wanted; may be repeated.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    endpoint: Annotated[
        str | None, typer.Option(envvar="HF_ENDPOINT", help="Another hub, or a mirror.")
    ] = None,
) -> None:
    """Download a model, checked and pinned to a commit. An interrupted download goes on where it was."""
    from voxloop import model_pull
    from voxloop.model_catalog import aliases, wish

    wanted = wish(model, tuple(file or ()), aliases())
    have = model_pull.pull(wanted, _state(), endpoint, console, ask=not yes)
    console.print(f"checked and pinned: {have.path}", highlight=False, soft_wrap=True)
    console.print(
        f"`voxloop model check {wanted.name}` tries it, `voxloop model use {wanted.name}` has it served."
    )


@app.command("use")
def use_command(
    model: Annotated[str, typer.Argument(help="A name of `list`, or a path.")],
) -> None:
    """Have `voxloop up` serve this model from its next start."""
    from voxloop import model_state
    from voxloop.model_catalog import aliases

    found = model_state.choose(_state(), model, tuple(aliases()))
    console.print(f"in use from the next `voxloop up`: {found.path}", highlight=False, soft_wrap=True)
    if not found.chat_template:
        console.print("It brings no chat template: conversations reach it as a plain script.")
    if given := os.environ.get("VOXLOOP_MODEL"):
        console.print(f"But VOXLOOP_MODEL is set and wins: {given}", highlight=False, soft_wrap=True)


@app.command("check")
def check_command(
    model: Annotated[str, typer.Argument(help="A name of `list`, or a path; without, what is in use.")] = "",
    as_json: AsJson = False,
) -> None:
    """Load a model in a Triton of its own, ask it a question, and show how it did."""
    import asyncio

    from voxloop import model_check, model_state
    from voxloop.model_catalog import aliases

    state = _state()
    path = model_state.in_use(state).path
    if model:
        path = model_state.locate(model, model_state.read(state), tuple(aliases()))
    verdict = asyncio.run(model_check.check(path))
    if as_json:
        typer.echo(orjson.dumps(verdict.as_json()).decode())
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in (
        ("model", verdict.model),
        ("chat template", "its own" if verdict.chat_template else "none: a plain script"),
        ("question", verdict.question),
        ("answer", verdict.answer),
        ("loaded in", f"{verdict.load_s} s"),
        ("first token", f"{verdict.first_token_ms} ms"),
        ("speed", f"{verdict.tokens_per_s} tokens/s ({verdict.tokens} tokens, one answer alone)"),
        ("memory", f"{verdict.memory_mb} MB"),
    ):
        table.add_row(name, value)
    console.print(table, highlight=False)


@app.command("finetune")
def finetune_command(
    recipe: Annotated[Path, typer.Option(help="A recipe of training/nemo/recipes, or one like it.")],
    data: Annotated[Path, typer.Option(help='JSON lines of {"messages": [{"role", "content"}, …]}.')],
    out: Annotated[Path, typer.Option(help="Where checkpoints go; the same folder goes on.")] = Path(
        "finetuned"
    ),
    base: Annotated[str, typer.Option("--model", help="Another base model than the recipe's.")] = "",
    cpu: Annotated[bool, typer.Option("--cpu", help="Train on the CPU, by TRL and PEFT.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, and say what would run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a model on conversations, by NeMo Automodel on GPUs. Interrupted, it goes on."""
    from voxloop.finetune import run as tuning

    shown = Console(stderr=True) if as_json else console
    done = tuning.finetune(recipe, data, out, base, shown, cpu=cpu, dry_run=dry_run)
    if done is None:
        return
    if as_json:
        typer.echo(tuning.as_json(done))
        return
    loss = "" if done.loss is None else f", loss {done.loss:.4f}"
    console.print(f"{done.steps} steps{loss}: `voxloop model export {out}`", highlight=False, soft_wrap=True)


@app.command("export")
def export_command(
    tuned: Annotated[Path, typer.Argument(help="The folder that `finetune` made.")] = Path("finetuned"),
    out: Annotated[Path, typer.Option(help="Where the models go.")] = Path("exported"),
    gguf: Annotated[bool, typer.Option(help="Also a GGUF file, for the embedded Triton.")] = True,
) -> None:
    """Merge what was fine-tuned and lay it down for Triton: for a DGX, and for the embedded engine."""
    from voxloop.finetune import export

    for path in export.export(tuned, out, gguf=gguf):
        console.print(f"written {path}", highlight=False, soft_wrap=True)
    if gguf:
        console.print(f"`voxloop model use {out / 'model.gguf'}` has it served.", soft_wrap=True)


def _state() -> Path:
    from shared.settings import load
    from voxloop.stack import VoxloopSettings

    return load(VoxloopSettings).state.absolute()
