"""`vpctl completion SHELL`: the script that lets a shell complete commands and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl

PROGRAM = "vpctl"
VARIABLE = "_VPCTL_COMPLETE"
INSTALL = {
    "bash": "vpctl completion bash > ~/.local/share/bash-completion/completions/vpctl",
    "zsh": "vpctl completion zsh > ~/.zfunc/_vpctl   (with ~/.zfunc in fpath, before compinit)",
    "fish": "vpctl completion fish > ~/.config/fish/completions/vpctl.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(INSTALL)))
@click.pass_context
@pass_vpctl
def command(vpctl: Vpctl, context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL; its last line says where to put it."""
    completion = get_completion_class(shell)
    assert completion is not None
    try:
        script = completion(context.find_root().command, {}, PROGRAM, VARIABLE).source()
    except (OSError, RuntimeError) as error:
        vpctl.fail(f"{shell} cannot be asked for its version: {error}", EXIT_REFUSED)
    install = f"# Install: {INSTALL[shell]}"
    if vpctl.as_json:
        vpctl.show({"shell": shell, "script": script, "install": INSTALL[shell]}, "")
    else:
        click.echo(f"{script.strip()}\n{install}")
