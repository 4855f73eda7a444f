"""What all commands share: the configuration, the client, human or JSON output, exit codes."""

from __future__ import annotations

import codecs
import io
import json
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.table import Table

from visualpath.core.errors import CommandError, ConfigError, Unreachable
from visualpath.ctl.supervision import Supervisor
from visualpath.ctl.supervisors import supervisor_of
from visualpath.ctl.systemd import INSTALLED_CONFIG
from visualpath.runtime.config import Config, load_config
from visualpath.runtime.control import ControlClient
from visualpath.runtime.redaction import VARIABLE, Redaction
from visualpath.runtime.roles import machine_of, roles
from visualpath.runtime.variables import Variables

EXIT_REFUSED = 1
EXIT_SOME_DOWN = 3
EXIT_ALL_DOWN = 4
EXIT_DEGRADED = 5
EXIT_UNHEALTHY = 6
EXIT_CONFIG = 78

PIPED_WIDTH = 200
"""Columns where nobody watches: tables must not lose anything to a narrow default."""


LOOKALIKES = str.maketrans("✓✗·○█░\N{EN DASH}", "+x.o#.-")


def _look_alike(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that the terminal's encoding has not."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(LOOKALIKES)
    return "".join(c if c.isascii() else "?" for c in text), error.end


codecs.register_error("look_alike", _look_alike)


class Vpctl:
    """State of one vpctl call.

    Args:
        config_path: visualpath.yaml.
        as_json: print JSON for programs in place of tables for people.
        needs_values: whether the call can do nothing without the value of each `${NAME}` in the configuration.
    """

    def __init__(self, config_path: Path, as_json: bool, needs_values: bool = True) -> None:
        self.config_path = config_path
        self.as_json = as_json
        self.needs_values = needs_values
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="look_alike")
        self.console = Console(
            highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_WIDTH
        )

    @cached_property
    def variables(self) -> Variables:
        """What `${NAME}` stands for in the configuration."""
        return Variables(self.config_path, self.needs_values)

    @cached_property
    def config(self) -> Config:
        """The configuration; ends the call with exit code 78 if it cannot be used."""
        try:
            config = load_config(self.config_path, self.variables)
        except ConfigError as error:
            self.fail(str(error), EXIT_CONFIG)
        for key in ("run_dir", "state_dir"):  # in another folder nothing would seem to run
            if unknown := VARIABLE.search(str(getattr(config, key))):
                self.fail(
                    f"{config.path}: {key}: {unknown[1]} is not known here: set it in the environment", EXIT_CONFIG
                )
        return config

    @cached_property
    def supervisor(self) -> Supervisor:
        """Who keeps the daemons of the configuration."""
        return supervisor_of(self.config)

    def daemons(self, wanted: tuple[str, ...]) -> list[str]:
        """The daemons named, or all if none is; ends the call if the configuration has no such."""
        known = [role.daemon for role in roles(self.config)]
        for daemon in wanted:
            if daemon not in known:
                self.fail(f"no daemon {daemon!r}; there are {', '.join(known)}", EXIT_REFUSED)
        return list(wanted) or known

    def local_daemons(self, wanted: tuple[str, ...]) -> list[str]:
        """As `daemons`, of those that this machine runs; ends the call if one is named that another runs."""
        chosen = self.daemons(wanted)
        away = {daemon: machine for daemon in chosen if (machine := machine_of(self.config, daemon))}
        if wanted and away:
            told = ", ".join(f"{daemon} runs on {machine}" for daemon, machine in away.items())
            self.fail(f"{told} (security.servers): do it there", EXIT_REFUSED)
        return [daemon for daemon in chosen if daemon not in away]

    def ask(self, daemon: str, command: str, args: dict[str, Any] | None = None) -> Any:
        """One daemon's answer; ends the call if there is none."""
        client = ControlClient(self.config.endpoints())
        try:
            return client.ask(daemon, command, args)
        except Unreachable:
            self.fail(
                f"{daemon} does not answer; is it running? `vpctl status` shows, `vpctl up` starts", EXIT_ALL_DOWN
            )
        except CommandError as error:
            self.fail(str(error), EXIT_REFUSED)
        finally:
            client.close()

    def show(self, value: Any, table: Table | str) -> None:
        """Print `value` as JSON or `table` for people; a text without secrets of the configuration."""
        if self.as_json:
            click.echo(json.dumps(self._redaction.of(value), indent=1, ensure_ascii=False))
        elif isinstance(table, str):
            click.echo(self.hide(table))
        else:
            self.console.print(table)

    def hide(self, text: str) -> str:
        """A text that may quote the configuration, or what has it, without its secrets."""
        return self._redaction(text)

    @property
    def _redaction(self) -> Redaction:
        return self.config.redaction if "config" in vars(self) else Redaction({})

    def fail(self, message: str, code: int) -> NoReturn:
        """End the call with one line on stderr."""
        click.echo(f"vpctl: {self.hide(message)}", err=True)
        raise click.exceptions.Exit(code)


def default_config() -> Path:
    """visualpath.yaml where vpctl was called, else that of the machine, if there is one."""
    here = Path("visualpath.yaml")
    return INSTALLED_CONFIG if not here.exists() and INSTALLED_CONFIG.exists() else here


pass_vpctl = click.make_pass_decorator(Vpctl)


def clock(ns: int) -> str:
    """A duration as people read it."""
    minutes, seconds = divmod(ns // 1_000_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
