"""`vpctl version`: what is installed here."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import click
import zmq
from rich.table import Table

from visualpath.core.errors import ConfigError
from visualpath.ctl.console import Vpctl, pass_vpctl
from visualpath.runtime.config import load_config
from visualpath.runtime.roles import roles
from visualpath_protocol import PROTOCOL_VERSION


@click.command("version")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Show the versions of visualpath, of what it stands on, and of each venv."""
    versions = dict(_own())
    try:
        config = load_config(vpctl.config_path, vpctl.variables)
        venvs = {name: _of_venv(config.venvs_dir / name) for name in sorted({role.venv for role in roles(config)})}
    except ConfigError:  # versions are asked for wherever one stands; `vpctl validate` says what is wrong
        venvs = {}
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, text in (*versions.items(), *((f"venv {name}", text) for name, text in venvs.items())):
        table.add_row(name, text)
    vpctl.show({**versions, "venvs": venvs}, table)


def _own() -> Iterator[tuple[str, str]]:
    yield "visualpath", _installed("visualpath") or "not installed"
    yield "protocol", PROTOCOL_VERSION
    yield "python", platform.python_version()
    yield "libzmq", zmq.zmq_version()
    yield "pyzmq", zmq.__version__
    if _installed("av"):
        import av

        yield "pyav", av.__version__
        yield "ffmpeg", av.ffmpeg_version_info


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _of_venv(folder: Path) -> str:
    """From its files: to ask its Python would take a second each."""
    if not (folder / "bin" / "python").exists():
        return "not built"
    places = [str(path) for path in folder.glob("lib/python3*/site-packages")]
    found = next((each.version for each in distributions(name="visualpath", path=places)), "")
    return f"visualpath {found}" if found else "has no visualpath"
