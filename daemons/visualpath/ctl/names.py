"""Names from the configuration, for the shell to complete."""

from __future__ import annotations

from pathlib import Path

import click

from visualpath.core.errors import ConfigError
from visualpath.ctl.console import default_config
from visualpath.runtime.config import Config, load_config
from visualpath.runtime.roles import roles
from visualpath.runtime.variables import Variables


def complete_daemon(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The daemons whose names begin so."""
    config = _config(context)
    return [role.daemon for role in roles(config) if role.daemon.startswith(begun)] if config is not None else []


def complete_stream(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The streams whose names begin so."""
    config = _config(context)
    return [stream for stream in config.streams if stream.startswith(begun)] if config is not None else []


def _config(context: click.Context) -> Config | None:
    """The configuration, or None: a shell that completes is no place for error messages."""
    try:
        path = Path(context.find_root().params.get("config_path") or default_config())
        return load_config(path, Variables(path, needed=False))
    except ConfigError:
        return None
