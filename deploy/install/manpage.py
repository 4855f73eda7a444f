"""Print vpctl's man page, made from its commands; run by the Python of a venv that has vpctl."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from inspect import cleandoc

import click

from visualpath.ctl.main import main as vpctl

FILES = {
    "/etc/visualpath/visualpath.yaml": "The configuration of a machine that systemd runs visualpath on.",
    "/opt/visualpath/doc/operations.md": "How visualpath is operated: counters, log lines, exit codes, faults.",
}

HELP = "-h, --help"


def roff(text: str) -> str:
    """Return a text as troff takes it literally."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    return re.sub(r"^\.", r"\\&.", escaped, flags=re.MULTILINE)


def paragraphs(text: str) -> Iterator[str]:
    """Give each paragraph on a line of its own; one that click prints as it stands, as it stands."""
    for paragraph in re.split(r"\n\s*\n", cleandoc(text)):
        if paragraph.startswith("\b"):
            yield ".nf\n" + roff(paragraph.lstrip("\b\n")) + "\n.fi"
        else:
            yield roff(" ".join(paragraph.split()))
        yield ".PP"


def options(context: click.Context) -> Iterator[str]:
    """Give the options and arguments that have something said of them."""
    for parameter in context.command.get_params(context):
        name, text = parameter.get_help_record(context) or ("", "")
        if text and (name != HELP or context.parent is None):
            yield f".TP\n\\fB{roff(name)}\\fR\n{roff(text)}"


def subcommands(context: click.Context) -> Iterator[click.Context]:
    """Give every command below a group, each with the names that lead to it."""
    command = context.command
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        below = click.Context(command.get_command(context, name), info_name=name, parent=context)
        yield below
        yield from subcommands(below)


def usage(context: click.Context) -> str:
    """Return how a command is called, without what stands in front for all."""
    words = context.command.collect_usage_pieces(context)
    return roff(" ".join([context.command_path, *words]))


def page() -> Iterator[str]:
    """Give the page, line by line."""
    context = click.Context(vpctl, info_name="vpctl", **vpctl.context_settings)
    yield f'.TH VPCTL 1 "" "visualpath {version("visualpath")}" "visualpath"'
    yield ".SH NAME\nvpctl \\- control visualpath on this machine"
    yield f".SH SYNOPSIS\n.B {usage(context)}"
    yield ".SH DESCRIPTION"
    yield from paragraphs(vpctl.help or "")
    yield ".SH OPTIONS"
    yield from options(context)
    yield ".SH COMMANDS"
    for below in subcommands(context):
        yield f".SS {usage(below)}"
        yield from paragraphs(below.command.help or "")
        yield from options(below)
    yield ".SH FILES"
    for path, text in FILES.items():
        yield f".TP\n.I {roff(path)}\n{roff(text)}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(page()) + "\n")
