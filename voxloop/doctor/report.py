"""A diagnosis as text, in the manner of flutter's doctor."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from voxloop.doctor.checks import Result, Verdict
from voxloop.doctor.diagnosis import PHASES, Diagnosis

MARKS = {
    Verdict.PASS: "[green]✓[/]",
    Verdict.INFO: "[blue]•[/]",
    Verdict.WARNING: "[yellow]![/]",
    Verdict.CRITICAL: "[red]✗[/]",
    Verdict.UNKNOWN: "[magenta]?[/]",
}
WORST = (Verdict.CRITICAL, Verdict.UNKNOWN, Verdict.WARNING)


def show(diagnosis: Diagnosis, console: Console) -> None:
    for phase in sorted({result.phase for result in diagnosis.results}):
        results = [result for result in diagnosis.results if result.phase == phase]
        verdicts = {result.verdict for result in results}
        worst = next((verdict for verdict in WORST if verdict in verdicts), Verdict.PASS)
        console.print(f"\\[{MARKS[worst]}] [bold]Phase {phase}: {PHASES[phase]}[/]", highlight=False)
        for result in results:
            if result.verdict is not Verdict.SKIPPED:
                _line(result, console)
    problems, warnings = diagnosis.count(Verdict.CRITICAL, Verdict.UNKNOWN), diagnosis.count(Verdict.WARNING)
    if problems or warnings:
        console.print(f"\n{_number(problems, 'problem')}, {_number(warnings, 'warning')}.", highlight=False)
    else:
        console.print("\nNothing is wrong.")


def _line(result: Result, console: Console) -> None:
    def put(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    put(f"    {MARKS[result.verdict]} {escape(result.title)}: {escape(result.why)}")
    if result.verdict in WORST:
        put(f"      [dim]should be:[/] {escape(result.threshold)}")
    if result.do:
        put(f"      [dim]→[/] {escape(result.do)}")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
