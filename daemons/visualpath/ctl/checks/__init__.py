"""The checks of `vpctl doctor`: each looks at one thing and says what it found, with what mends it."""

from __future__ import annotations

from collections.abc import Callable

from visualpath.ctl.checks import daemons, extractors, folders, keys, machine, memory, streams, venvs
from visualpath.ctl.checks.finding import Examined, Findings

CHECKS: dict[str, Callable[[Examined], Findings]] = {
    "configuration": streams.check_configuration,
    "sources": streams.check_sources,
    "venvs": venvs.check_venvs,
    "plug-ins": venvs.check_plugins,
    "folders": folders.check_folders,
    "disk": memory.check_disk,
    "ring": memory.check_ring,
    "sockets": daemons.check_sockets,
    "keys": keys.check_keys,
    "daemons": daemons.check_daemons,
    "extractors": extractors.check_extractors,
    "machine": machine.check_machine,
}
"""By what is looked at, in the order of the report."""
