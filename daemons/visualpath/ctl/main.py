"""The command line of vpctl; each command is a file in `commands/`."""

from __future__ import annotations

from pathlib import Path

import click

from visualpath.ctl.commands import (
    clips,
    completion,
    doctor,
    down,
    explain,
    extractors,
    logs,
    metrics,
    models,
    plugins,
    process,
    record,
    replay,
    restart,
    status,
    streams,
    tail,
    top,
    trace,
    trigger,
    up,
    validate,
    version,
)
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

    Exit codes: 0 done, 1 refused or a problem found, 2 wrong usage, 3 some daemons are down, 4 all are down,
    78 bad configuration.
    """
    context.obj = Vpctl(config_path, as_json)


MODULES = (
    up, down, restart, status, streams, extractors, clips, trigger, tail, top, trace, metrics, record, replay, explain,
    process, models, plugins, logs, validate, doctor, version, completion,
)  # fmt: skip
for module in MODULES:
    main.add_command(module.command)
