"""Which of the two supervisors keeps the daemons of a configuration."""

from __future__ import annotations

from visualpath.ctl.supervision import Supervisor
from visualpath.ctl.supervisor import LocalSupervisor
from visualpath.ctl.systemd import Systemd, is_named_by_units
from visualpath.runtime.config import Config


def supervisor_of(config: Config) -> Supervisor:
    """systemd, if it runs this machine and its units are started with this very file; else supervisord."""
    return Systemd(config) if is_named_by_units(config) else LocalSupervisor(config)
