"""`voxloop …`: what an operator types. Exit status 0 done, 1 failed, 2 called wrongly."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import orjson
import typer
from rich.console import Console

from shared.errors import StartupError, VoxloopError, first_of
from voxloop import bench, model
from voxloop.output_file import check_writable
from voxloop.paths import QUESTION

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(model.app, name="model")
console = Console()

Reply = Annotated[Path, typer.Option(help="Where the spoken reply is written.")]
Frames = Annotated[Path, typer.Option(help="Where the face frames are written, as JSON lines.")]
Plot = Annotated[Path | None, typer.Option(help="A picture to write, where the benchmark has one.")]
Short = Annotated[
    bool, typer.Option("--short", help="Little of everything, where the benchmark takes very long.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.command("up")
def up_command() -> None:
    """Start every engine and service, show their addresses, and keep them running until Ctrl-C."""
    import asyncio

    from voxloop import up

    asyncio.run(up.up(console))


@app.command("talk")
def talk_command(
    file: Annotated[Path, typer.Argument(help="A WAV recording of a question.")],
    url: Annotated[str, typer.Option(help="sophia's voice address.")] = "",
    language: str = "en-US",
    api_key: Annotated[str, typer.Option(envvar="VOXLOOP_API_KEY", help="sophia's API key.")] = "",
    reply: Reply = Path("reply.wav"),
    frames: Frames = Path("face.jsonl"),
    trace_file: Annotated[
        Path | None, typer.Option("--trace", help="An HTML page to write, with the waterfall of every turn.")
    ] = None,
    trace_words: Annotated[
        bool, typer.Option("--trace-words", help="Write what was said into that page, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Speak a recording to a running sophia and take its reply. (To use a microphone, open sophia's page.)"""
    import asyncio

    from voxloop import talk, trace

    if trace_words and trace_file is None:
        raise typer.BadParameter("it needs --trace FILE", param_hint="--trace-words")
    pcm = talk.load_question(file)
    for output in filter(None, (reply, frames, trace_file)):
        check_writable(output)
    if not url:
        from services.sophia.settings import SophiaSettings
        from shared.settings import load

        settings = load(SophiaSettings)
        url = f"ws://{settings.host}:{settings.http_port}/sophia/voice"
    exchange = talk.Exchange()
    try:
        asyncio.run(talk.talk(url, pcm, language=language, api_key=api_key, exchange=exchange))
    finally:  # what went wrong is what a trace is wanted for
        if trace_file is not None and exchange.turns:
            trace.write(trace_file, exchange.turns, words=trace_words)
    talk.save(exchange, reply, frames)
    if as_json:
        typer.echo(orjson.dumps(exchange.summary()).decode())
    else:
        talk.show(exchange, console)


@app.command("run")
def run_command(
    once: Annotated[bool, typer.Option(help="End after the first turn.")] = False,
    question: Annotated[Path, typer.Option(help="What is asked.")] = QUESTION,
    reply: Reply = Path("reply.wav"),
    frames: Frames = Path("face.jsonl"),
) -> None:
    """Start everything, ask the recorded question, show where the time went, and go on serving."""
    import asyncio

    asyncio.run(_run(once, question, reply, frames))


async def _run(once: bool, question: Path, reply: Path, frames: Path) -> None:
    from voxloop import talk, up

    pcm = talk.load_question(question)
    for output in (reply, frames):
        check_writable(output)
    async with up.running(console) as stack:
        exchange = await talk.talk(stack.voice_url, pcm)
        talk.save(exchange, reply, frames)
        talk.show(exchange, console)
        console.print(f"wrote {reply} and {frames}", highlight=False)
        if shortcomings := exchange.shortcomings():
            raise StartupError("the turn was not whole: " + "; ".join(shortcomings))
        if not once:
            console.print(up.addresses(stack))
            console.print(f"open {stack.page_url} to talk yourself. Ctrl-C ends everything.")
            await up.until_interrupted()


@app.command("bench")
def bench_command(
    which: bench.Benchmark, as_json: AsJson = False, plot: Plot = None, short: Short = False
) -> None:
    """Measure, on the embedded engines of this machine."""
    for report in bench.run(which, plot, short=short):
        if as_json:
            typer.echo(report.json())
        else:
            report.show(console)


@app.command("doctor")
def doctor_command(
    phase: Annotated[
        list[int] | None,
        typer.Option(min=1, max=3, help="1 machine, 2 engines, 3 services; repeatable."),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(min=0, help="How many there must be; else VOXLOOP_DOCTOR_GPUS, else any number."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong here, why, and what to do; change nothing. Status 0 good, 1 not, 2 could not look."""
    import asyncio

    from shared.settings import load
    from voxloop.doctor.diagnosis import PHASES, diagnose
    from voxloop.doctor.report import show
    from voxloop.doctor.settings import DoctorSettings

    try:
        settings = load(DoctorSettings)
        if gpus is not None:
            settings = settings.model_copy(update={"gpus": gpus})
        diagnosis = asyncio.run(diagnose(phase or PHASES, settings))
    except VoxloopError as error:
        _fail(error, status=2)
    if as_json:
        typer.echo(orjson.dumps(diagnosis.as_json()).decode())
    else:
        show(diagnosis, console)
    raise typer.Exit(diagnosis.status)


@app.command("smoke")
def smoke_command(
    out: Annotated[Path, typer.Option(help="The folder for smoke.md and smoke.json.")] = Path(),
    grafana: Annotated[
        str, typer.Option(envvar="VOXLOOP_GRAFANA_URL", help="Grafana's address.")
    ] = "http://127.0.0.1:3000",
    prometheus: Annotated[
        str, typer.Option(envvar="VOXLOOP_PROMETHEUS_URL", help="Prometheus's address.")
    ] = "http://127.0.0.1:9090",
    as_json: AsJson = False,
) -> None:
    """Tick off the validation list, each box by a real request, and write it down.

    VOXLOOP_GRAFANA_PASSWORD is the one of Grafana's user `admin`.
    """
    import asyncio

    from shared.settings import load
    from voxloop import smoke
    from voxloop.doctor.settings import DoctorSettings

    password = os.environ.get("VOXLOOP_GRAFANA_PASSWORD", "")
    checklist = asyncio.run(smoke.run(load(DoctorSettings), grafana, prometheus, password))
    written = checklist.save(out)
    if as_json:
        typer.echo(orjson.dumps(checklist.as_json()).decode())
    else:
        checklist.show(console)
        console.print(f"wrote {written[0]} and {written[1]}", highlight=False)
    raise typer.Exit(checklist.status)


def main() -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a letter is no reason to end
    try:
        app()
    except VoxloopError as error:
        _fail(error)
    except BaseExceptionGroup as group:  # what ends a TaskGroup
        faults, others = group.split(VoxloopError)
        if faults is None or others is not None:
            raise
        _fail(first_of(faults))


def _fail(error: BaseException, status: int = 1) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(f"voxloop: {error}", highlight=False, markup=False)
    raise SystemExit(status) from None
