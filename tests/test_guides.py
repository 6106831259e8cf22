"""Every command of ours that the guides tell to type exists, with the options that it is given."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.core
import typer.exceptions
import typer.main

from tests.conftest import ROOT
from voxloop.cli import app

GUIDES = ("dgx-guide.md", "dgx-leitfaden.md", "operations.md")
HOST = "deploy/host.sh"


def commands(text: str) -> list[list[str]]:
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).splitlines()
    lines = blocks + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    split = [
        shlex.split(line, comments=True) for line in lines if line.startswith(("voxloop ", "make ", "sh "))
    ]
    lent = [words[2:] for words in split if words[:2] == ["sh", HOST] and words[2:3] == ["voxloop"]]
    return split + lent


def parse(arguments: list[str]) -> None:
    """As the command line is read, without running anything; raises TyperException."""
    command = typer.main.get_command(app)
    while isinstance(command, typer.core.TyperGroup):
        name, *arguments = arguments
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    command.make_context(command.name, arguments)


@pytest.mark.parametrize("name", GUIDES)
def test_every_command_of_a_guide_exists(name: str) -> None:
    found = commands((ROOT / "docs" / name).read_text())
    assert len(found) >= 4
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for tool, *arguments in found:
        if tool == "voxloop":
            parse(arguments)
        elif tool == "make":
            assert set(arguments) <= targets
        else:
            assert (ROOT / arguments[0]).is_file(), arguments[0]


def test_a_command_that_is_none_would_be_seen() -> None:
    with pytest.raises(typer.exceptions.TyperException):
        parse(["doctor", "--phase", "4"])
    with pytest.raises(AssertionError, match="dance"):
        parse(["dance"])


def test_both_guides_give_the_same_commands() -> None:
    english, german = (commands((ROOT / "docs" / name).read_text()) for name in GUIDES[:2])
    assert english == german


@pytest.mark.parametrize("name", GUIDES)
def test_every_link_of_a_guide_leads_somewhere(name: str) -> None:
    text = (ROOT / "docs" / name).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (Path(ROOT / "docs") / target).exists(), target
