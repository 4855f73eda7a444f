"""The command line of vpctl; each command is a file in `commands/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from visualpath.ctl.commands import (
    apply,
    clips,
    completion,
    doctor,
    down,
    explain,
    extractors,
    health,
    keys,
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
from visualpath.ctl.console import EXIT_CONFIG, EXIT_REFUSED, Vpctl, default_config
from visualpath.ctl.supervision import SupervisorFailed
from visualpath_protocol.errors import EndpointError

NEED_VALUES = {"up", "apply", "restart", "validate", "doctor", "process", "models", "plugins", "keys"}
"""Commands that start something by the configuration, judge it, or write where it says.

For the others a `${NAME}` that is not set stands for itself: whoever may stop the daemons need not know the passwords.
"""


class _Commands(click.Group):
    """What may end any command: an address that cannot be used, mostly for want of a key; a supervisor that refuses."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except EndpointError as error:
            context.obj.fail(str(error), EXIT_CONFIG)
        except SupervisorFailed as error:
            context.obj.fail(str(error), EXIT_REFUSED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, readable=False),
    default=default_config,
    envvar="VISUALPATH_CONFIG",
    help="Default: $VISUALPATH_CONFIG, else ./visualpath.yaml, else /etc/visualpath/visualpath.yaml.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.pass_context
def main(context: click.Context, config_path: Path, as_json: bool) -> None:
    """Control visualpath on this machine.

    Exit codes: 0 done, 1 refused or a problem found, 2 wrong usage, 3 some daemons are down, 4 all are down,
    5 degraded, 6 unhealthy, 78 bad configuration.
    """
    context.obj = Vpctl(config_path, as_json, needs_values=context.invoked_subcommand in NEED_VALUES)


MODULES = (
    up, down, restart, apply, status, streams, extractors, clips, trigger, tail, top, trace, metrics, record, replay,
    explain, process, models, plugins, keys, logs, validate, doctor, health, version, completion,
)  # fmt: skip
for module in MODULES:
    main.add_command(module.command)
