"""The daemons of a machine of its own: units that systemd keeps, one for each daemon.

systemctl and journalctl are asked; nothing of systemd is linked. Names of properties and journal fields: systemctl(1),
org.freedesktop.systemd1(5), systemd.journal-fields(7).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from visualpath.core.errors import ConfigError
from visualpath.ctl.ends import LATELY, Ends
from visualpath.ctl.supervision import Process, SupervisorFailed
from visualpath.runtime.config import Config
from visualpath.runtime.main import EXIT_CONFIG
from visualpath.runtime.roles import ROLES, Role, local_roles

BOOTED = Path("/run/systemd/system")
"""There exactly while systemd runs the machine: sd_booted(3)."""
INSTALLED_CONFIG = Path("/etc/visualpath/visualpath.yaml")
TARGET = "visualpath.target"
ALL_SERVICES = "visualpath-*.service"
MAX_EXTRACTOR_NAME = 28
"""Of the 31 characters of a dynamic user's name, `vp-` takes three."""
PROPERTIES = "Id,ActiveState,SubState,Result,NRestarts,MainPID,ExecMainCode,ExecMainStatus,StateChangeTimestamp"
PROCESS_EXIT, UNIT_FAILURE = "98e322203f7a4ed290d09fe03c09fe15", "d9b373ed55a64feb8242e02dbe79a49c"
STOPPING, STOPPED = "de5b426a63be47a7b6ac3eaac82e2f6f", "9d1aaa27d60140bd96365438aad20286"
START_AGAIN = "5eb03494b6584870a536b337290809b3"
"""SD_MESSAGE_UNIT_PROCESS_EXIT, UNIT_FAILURE_RESULT, UNIT_STOPPING, UNIT_STOPPED and UNIT_RESTART_SCHEDULED of
sd-messages.h."""
JOURNAL = ("--quiet", "--no-pager", "--output=cat")
ASK_TIMEOUT_S = 20.0
ACT_TIMEOUT_S = 120.0
"""Longer than the units let a stop of all take that hang."""
EXITED = ("exited", "1")
"""A process ended with an exit status, in the journal's word and in the property's (CLD_EXITED)."""
STATES = {"active": "up", "reloading": "up", "activating": "starting", "deactivating": "stopping", "failed": "failing"}
HOW = {
    "watchdog": "hung, killed by the watchdog",
    "oom-kill": "out of memory",
    "timeout": "not ready, or not down, in time",
}


def is_named_by_units(config: Config) -> bool:
    """Whether systemd runs this machine, with units that are started with this very configuration.

    If it cannot be asked, the installed configuration is its own: a second set of daemons would be worse than none.
    """
    if not BOOTED.is_dir():
        return False
    try:
        command = _run("systemctl", "show", "--property=ExecStart", "--value", "visualpath-fusion.service")
    except SupervisorFailed:
        return config.path == INSTALLED_CONFIG.resolve()
    named = re.search(r" --config (\S+)", command)
    return named is not None and Path(named[1]).resolve() == config.path


def unit_of(daemon: Role) -> str:
    """The name of the unit that runs a daemon."""
    instance = f"@{daemon.instance}" if daemon.instance else ""
    return f"visualpath-{daemon.role}{instance}.service"


def daemon_of(unit: str) -> str:
    """The name of the daemon that a unit runs."""
    return unit.removeprefix("visualpath-").removesuffix(".service").replace("@", "-", 1)


def is_ours(unit: str) -> bool:
    """Whether a unit runs a daemon: an operator may have units of his own that are called so."""
    prefix, _, rest = unit.partition("-")
    return prefix == "visualpath" and re.split("[@.]", rest)[0] in ROLES


class Systemd:
    """Starts and stops the units of one configuration."""

    name = "systemd"
    logs_at = "the journal (the group systemd-journal may read it)"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._units = {role.daemon: unit_of(role) for role in local_roles(config)}

    def processes(self) -> dict[str, Process]:
        """Units that are enabled, or not simply down."""
        enabled = self._enabled()
        found = {}
        for unit, shown in self._shown(enabled).items():
            process = _process(daemon_of(unit), shown)
            if unit in enabled or process.state != "stopped":
                found[daemon_of(unit)] = process
        return found

    def start(self) -> bool:
        """Enable and start the units that the configuration names; disable and stop all others."""
        self._check_names()
        before = self.processes()
        surplus = [self._unit(daemon) for daemon in before if daemon not in self._units]
        if surplus:
            _tell("disable", "--now", *surplus)
        _tell("enable", TARGET, *self._units.values())
        self._forgive([*before, *self._units])
        _tell("start", "--no-block", TARGET, *self._units.values())
        return all(process.pid is None for process in before.values())

    def stop(self) -> bool:
        """Stop the target and every unit, and wait; what is enabled starts again with the machine."""
        before = self.processes()
        _tell("stop", TARGET, *map(self._unit, before))
        self._forgive(before)
        return any(process.pid is not None for process in before.values())

    def restart(self, daemons: Sequence[str]) -> None:
        """Stop these units, wait for that, and start them."""
        self._forgive(daemons)
        _tell("stop", *map(self._unit, daemons))
        _tell("start", "--no-block", *map(self._unit, daemons))

    def ends(self, since: datetime | None = None) -> dict[str, Ends]:
        """From what systemd itself wrote into the journal; empty for who may not read it."""
        since = since or datetime.now() - LATELY
        try:
            entries = self._journal(since)
        except SupervisorFailed:  # not of its groups; what systemctl tells is for everybody
            return {}
        found = {daemon: ends for daemon, each in entries.items() if (ends := _ends(each))}
        return {daemon: Ends(len(ends), ends[-1][1], ends[-1][0]) for daemon, ends in found.items()}

    def log_lines(self, daemon: str, count: int) -> list[str]:
        """From the journal; what systemd says of the unit is in `processes` and `ends`."""
        source = f"_SYSTEMD_UNIT={self._unit(daemon)}"
        return _lines(_run("journalctl", *JOURNAL, f"--lines={count}", source))

    def follow(self, daemons: Sequence[str]) -> Iterator[str]:
        """Lines of the journal as they come."""
        sources = [f"_SYSTEMD_UNIT={self._unit(daemon)}" for daemon in daemons]
        command = ["journalctl", *JOURNAL, "--follow", "--lines=0", *sources]
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace")
        except FileNotFoundError as error:
            raise SupervisorFailed(f"{command[0]} is not installed") from error
        return _followed(process)

    def _unit(self, daemon: str) -> str:
        """Also of a daemon that the configuration names no more."""
        role, _, instance = daemon.partition("-")
        return f"visualpath-{role}@{instance}.service" if instance else f"visualpath-{role}.service"

    def _enabled(self) -> set[str]:
        """What comes with the target."""
        wanted = _run("systemctl", "show", "--property=Wants", "--value", TARGET).split()
        return {unit for unit in wanted if unit.endswith(".service")}

    def _shown(self, enabled: set[str]) -> dict[str, dict[str, str]]:
        """The properties of each of our units that is loaded, and of each that is enabled."""
        text = _run("systemctl", "show", "--timestamp=unix", f"--property={PROPERTIES}", ALL_SERVICES, *sorted(enabled))
        blocks = (
            dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\n\n")
        )
        return {block["Id"]: block for block in blocks if is_ours(block.get("Id", ""))}

    def _forgive(self, daemons: Collection[str]) -> None:
        """Those that systemd has given up, or starts again in a while, are simply down, with a fresh budget."""
        processes = self.processes()
        failing = [self._unit(name) for name in processes if name in daemons and processes[name].state == "failing"]
        if failing:
            _tell("reset-failed", *failing)
            _tell("stop", *failing)

    def _check_names(self) -> None:
        for name in self._config.extractors:
            if len(name) > MAX_EXTRACTOR_NAME:
                why = f"under systemd at most {MAX_EXTRACTOR_NAME} characters, with the number of an instance"
                raise ConfigError(f"{self._config.path}: extractors.{name}: {why}")

    def _journal(self, since: datetime) -> dict[str, list[dict[str, Any]]]:
        """How the processes of each daemon ended, and what systemd made of it."""
        text = _run(
            "journalctl", "--quiet", "--no-pager", "--output=json", f"--since=@{since.timestamp():.6f}",
            "--output-fields=UNIT,EXIT_CODE,EXIT_STATUS,UNIT_RESULT,MESSAGE_ID", "_PID=1",
            *(f"MESSAGE_ID={each}" for each in (PROCESS_EXIT, UNIT_FAILURE, STOPPING, STOPPED, START_AGAIN)),
        )  # fmt: skip
        found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for entry in map(json.loads, _lines(text)):
            unit = str(entry.get("UNIT"))
            if is_ours(unit):
                found[daemon_of(unit)].append(entry)
        return found


def _ends(entries: Sequence[dict[str, Any]]) -> list[tuple[datetime, str]]:
    """When and how one daemon ended by itself, since it was last told to stop."""
    found: list[tuple[datetime, str]] = []
    ended: tuple[str, str] | None = None
    told = starts_again = False
    for entry in entries:
        kind = entry["MESSAGE_ID"]
        if kind == PROCESS_EXIT:
            ended = entry["EXIT_CODE"], entry["EXIT_STATUS"]
        elif kind == UNIT_FAILURE and ended:  # else nothing has ended: systemd gives up starting it
            at = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6)
            found += [] if told else [(at, _how(entry["UNIT_RESULT"], *ended))]
            ended = None
        elif kind == STOPPED and starts_again:  # of a unit that waits for its next start nothing else is said at a stop
            starts_again = False
        elif kind in (STOPPING, STOPPED):
            found, told = [], kind == STOPPING
        starts_again |= kind == START_AGAIN
    return found


def _process(daemon: str, shown: dict[str, str]) -> Process:
    state: Any = STATES.get(shown["ActiveState"], "stopped")
    if shown["SubState"].startswith("auto-restart"):  # systemd 254 has two of them
        state = "failing"
    restarts = int(shown.get("NRestarts") or 0)
    times = f"restarted {restarts} times" if restarts != 1 else "restarted once"
    told = [times] if restarts and state != "stopped" else []
    if state == "failing":
        how = _how(shown["Result"], shown["ExecMainCode"], shown["ExecMainStatus"])
        at = shown["StateChangeTimestamp"].removeprefix("@")
        since = f" since {datetime.fromtimestamp(int(at)):%Y-%m-%d %H:%M:%S}" if at.isdigit() else ""
        told.insert(0, f"failed{since}: {how}" if shown["SubState"] == "failed" else f"{how}; is started again")
        if shown["SubState"] == "failed":
            what = "the configuration" if shown["ExecMainStatus"] == str(EXIT_CONFIG) else "the cause"
            told.append(f"mend {what} (`vpctl logs {daemon}`), then `vpctl up`")
    return Process(state, int(shown["MainPID"]) or None, "; ".join(told))


def _how(result: str, code: str, status: str) -> str:
    """How a process ended, in the words that supervisord has for it."""
    if result in HOW:
        return HOW[result]
    if code in EXITED:
        return f"exit status {status}"
    try:
        return f"terminated by {signal.Signals(int(status)).name}"
    except ValueError:
        return result


def _lines(text: str) -> list[str]:
    """Nothing but a newline ends one: a message may have what str.splitlines() takes for an end."""
    return text.removesuffix("\n").split("\n") if text else []


def _followed(process: subprocess.Popen[str]) -> Iterator[str]:
    """What it writes, until nobody wants more."""
    with process:
        try:
            yield from (line.rstrip("\n") for line in process.stdout or ())
        finally:
            process.terminate()


def _tell(*command: str) -> None:
    """Have systemd do something, and wait until it is done."""
    try:
        _run("systemctl", *command, "--no-ask-password", timeout_s=ACT_TIMEOUT_S)
    except SupervisorFailed as error:
        if os.geteuid():
            raise SupervisorFailed(f"{error} (root may: sudo vpctl)") from error
        raise


def _run(*command: str, timeout_s: float = ASK_TIMEOUT_S) -> str:
    what = " ".join(word for word in command[:2] if not word.startswith("-"))
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            timeout=timeout_s,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise SupervisorFailed(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise SupervisorFailed(f"{what}: no answer within {timeout_s:g} s") from error
    if result.returncode:
        first = (result.stderr.strip() or f"exit status {result.returncode}").splitlines()[0]
        raise SupervisorFailed(f"{what}: {first}")
    return result.stdout
