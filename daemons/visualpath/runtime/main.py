"""How every daemon starts and ends: arguments, configuration, logs, exit codes.

Exit codes: 0 orderly end, 1 our own failure, 74 the disk refuses, 75 already running, 78 the configuration cannot be
used. Only the last is no reason to try again.
"""

from __future__ import annotations

import argparse
import logging
import resource
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Protocol

from visualpath.core.errors import ConfigError, PluginError, StorageError
from visualpath.runtime.config import Config, load_config
from visualpath.runtime.logs import setup_logs, tell_refusal
from visualpath.runtime.service import Service
from visualpath_protocol.errors import AddressInUse, EndpointError

log = logging.getLogger(__name__)

EXIT_FAILED = 1
EXIT_STORAGE = 74
EXIT_RUNNING_ALREADY = 75
EXIT_CONFIG = 78

MAX_FILES = 65_536
"""File descriptors that a daemon may use, if the system lets it: every connection of a peer takes one, and libzmq ends
the process when there is none for the next."""


class Daemon(Protocol):
    """What a daemon offers to `run_daemon`."""

    def run(self) -> None:
        """Work until stopped."""

    def close(self) -> None:
        """End in order, before the service is closed."""


def run_daemon(
    argv: list[str] | None, service_name: Callable[[str], str], make: Callable[[Service, str], Daemon], *, named: bool
) -> int:
    """Run one daemon until it is told to stop.

    Args:
        argv: command line; None: this process's.
        service_name: from the instance name (a stream, an extractor, or "") to the daemon's name.
        make: builds the daemon; raises ConfigError, PluginError or EndpointError if it cannot be.
        named: whether the command line has an instance name.
    """
    parser = argparse.ArgumentParser()
    if named:
        parser.add_argument("name", help="the stream or extractor of visualpath.yaml that this daemon serves")
    parser.add_argument("--config", type=Path, default=Path("visualpath.yaml"), help="default: ./visualpath.yaml")
    args = parser.parse_args(argv)
    instance = args.name if named else ""
    name = service_name(instance)
    try:
        config = load_config(args.config)
    except ConfigError as error:
        return _refuse(f"{name}: {error}", EXIT_CONFIG)
    _allow_files()
    setup_logs(name, config.log.level, config.log.format, config.redaction)
    try:
        service = Service(name, config)
    except AddressInUse as error:
        return _refuse(f"{name}: {error}", EXIT_RUNNING_ALREADY)
    except EndpointError as error:
        return _refuse(f"{name}: {error}", EXIT_CONFIG)
    try:
        return _serve(service, make, instance)
    finally:
        service.close()


def _serve(service: Service, make: Callable[[Service, str], Daemon], instance: str) -> int:
    service.stop_on_signals()
    try:
        with closing(make(service, instance)) as daemon:
            daemon.run()
            service.stopping()
    except (ConfigError, PluginError, EndpointError) as error:
        log.error("%s", error)
        return EXIT_CONFIG
    except StorageError as error:
        log.error("%s", error)
        service.rest()
        return EXIT_STORAGE
    except Exception:
        log.critical("stopped by a defect of its own", exc_info=True)
        return EXIT_FAILED
    log.info("down")
    return 0


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, MAX_FILES)), hard))


def _refuse(message: str, code: int) -> int:
    tell_refusal(message)
    return code


def require_named(config: Config, section: str, name: str) -> None:
    """Refuse an instance name that visualpath.yaml does not have."""
    known: dict[str, object] = getattr(config, section)
    if name not in known:
        raise ConfigError(f"{config.path}: {section}: no {name!r} here; there are {', '.join(known) or 'none'}")
