"""`voxloop model pull`, seen from the terminal: what it would cost, the question, the progress."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from voxloop import model_hub, model_state
from voxloop.model_catalog import Wish
from voxloop.model_hub import Plan
from voxloop.model_state import Downloaded, Models

INTERRUPTED = 130
"""Exit status, as shells give it to what Ctrl-C ended."""


def pull(wanted: Wish, state: Path, endpoint: str | None, console: Console, *, ask: bool) -> Downloaded:
    """Download, check and record. Raises VoxloopError; typer.Abort where the answer is no."""
    models = model_state.read(state)
    wanted = pinned(wanted, models)
    plan = model_hub.plan(wanted, model_hub.cache_of(state), endpoint)
    missing = plan.missing()
    show(plan, missing, console)
    if missing and ask:
        typer.confirm("Go on?", abort=True)
    try:
        have = _download(plan, console)
    except KeyboardInterrupt:
        typer.echo("voxloop: interrupted; the same command goes on where it was.", err=True)
        raise SystemExit(INTERRUPTED) from None
    model_state.save(state, models.model_copy(update={"downloaded": models.downloaded | {wanted.name: have}}))
    return have


def pinned(wanted: Wish, models: Models) -> Wish:
    """The commit of an earlier pull holds until another is asked for by name."""
    have = models.downloaded.get(wanted.name)
    if wanted.revision or have is None or have.repo != wanted.repo:
        return wanted
    return Wish(wanted.name, wanted.repo, have.revision, wanted.patterns or have.patterns)


def show(plan: Plan, missing: int, console: Console) -> None:
    console.print(f"{plan.wish.repo} at {plan.revision}", highlight=False, soft_wrap=True)
    for file in plan.files:
        console.print(f"  {file.size / 1e6:10.1f} MB  {file.name}", highlight=False, soft_wrap=True)
    total = sum(file.size for file in plan.files)
    console.print(f"{missing / 1e6:.1f} MB of {total / 1e6:.1f} MB to download", highlight=False)


def _download(plan: Plan, console: Console) -> Downloaded:
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=console) as progress:
        lines = {file.name: progress.add_task(Path(file.name).name, total=file.size) for file in plan.files}
        return model_hub.download(plan, lambda name, more: progress.advance(lines[name], more))
