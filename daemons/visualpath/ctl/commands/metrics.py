"""`vpctl metrics`: counters, gauges and histograms of all daemons, for Prometheus."""

from __future__ import annotations

import click

from visualpath.ctl.commands.status import collect
from visualpath.ctl.console import Vpctl, pass_vpctl
from visualpath.ctl.exposition import exposition
from visualpath.ctl.health import health_of


@click.command("metrics")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Print the metrics of all daemons in Prometheus's text format.

    Daemons that are down are no failure: visualpath_up is 0 for them.
    """
    answers = collect(vpctl, command="metrics")
    health = health_of(vpctl.supervisor, answers)
    vpctl.show(answers, exposition(answers, health).rstrip("\n"))
