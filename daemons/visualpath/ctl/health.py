"""How the daemons do: from their answers, and from what their supervisor and the watch daemon know."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from visualpath.core.health import Health, Seen, judge
from visualpath.ctl.ends import Ends
from visualpath.ctl.supervision import Process, Supervisor, SupervisorFailed
from visualpath_protocol.clock import NS_PER_S, wall_ns
from visualpath_protocol.endpoints import WATCH


def health_of(supervisor: Supervisor, statuses: Mapping[str, dict[str, Any] | None]) -> dict[str, Health]:
    """The health of each daemon that was asked, by its name."""
    processes: dict[str, Process] = {}
    ends: dict[str, Ends] = {}
    with suppress(SupervisorFailed):  # how the daemons do is told by their answers, too
        processes, ends = supervisor.processes(), supervisor.ends()
    seen = {
        daemon: Seen(
            status,
            ends=ends[daemon].count if daemon in ends else 0,
            told=processes[daemon].told if daemon in processes else "",
        )
        for daemon, status in statuses.items()
    }
    since_ns = {daemon: int(end.last_at.timestamp() * NS_PER_S) for daemon, end in ends.items()}
    watched = ((statuses.get(WATCH) or {}).get("health")) or {}
    return {
        daemon: _with_since(health, watched.get(daemon), since_ns.get(daemon) if statuses[daemon] is None else None)
        for daemon, health in judge(seen, wall_ns()).items()
    }


def _with_since(health: Health, watched: Mapping[str, Any] | None, ended_ns: int | None) -> Health:
    """Whoever has looked on knows best since when it is so."""
    if watched is not None and watched["state"] == health.state and watched["since_wall_ns"] is not None:
        return dataclasses.replace(health, since_wall_ns=watched["since_wall_ns"])
    return health if health.since_wall_ns is not None else dataclasses.replace(health, since_wall_ns=ended_ns)
