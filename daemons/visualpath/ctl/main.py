"""The command line of vpctl; each command is a file in `commands/`."""

from __future__ import annotations

from pathlib import Path

import click

from visualpath.ctl.commands import clips, down, logs, restart, status, trigger, up, validate
from visualpath.ctl.console import Vpctl


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("visualpath.yaml"),
    envvar="VISUALPATH_CONFIG",
    help="Default: $VISUALPATH_CONFIG, else ./visualpath.yaml.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.pass_context
def main(context: click.Context, config_path: Path, as_json: bool) -> None:
    """Control visualpath on this machine.

    Exit codes: 0 done, 1 refused, 2 wrong usage, 3 some daemons are down, 4 all are down, 78 bad configuration.
    """
    context.obj = Vpctl(config_path, as_json)


for module in (up, down, restart, status, logs, clips, trigger, validate):
    main.add_command(module.command)
