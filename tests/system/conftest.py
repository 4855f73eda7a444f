"""The box of the session, with visualpath installed and at work in it, and the table of what was observed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from installed import CONFIG, ROOT, SAMPLE, VIDEO_PATH, Installed, install, install_moody, set_mood, write_config
from rich.console import Console
from rich.table import Table
from systemd_box import Box, why_impossible

OURS = (ROOT / "tests/system/moody.py", ROOT / "tests/system/attacker.py", ROOT / "deploy/install/postinst")
MADE = "VISUALPATH_BOX"
OBSERVED = pytest.StashKey[list[tuple[str, str]]]()


@pytest.fixture(scope="session")
def made():
    """The folder with what `make test-systemd` has made: `stage/`, and `package/` with two packages, 1 and 2."""
    reason = why_impossible() or ("" if MADE in os.environ else f"{MADE} is not set: run by `make test-systemd`")
    if reason:
        pytest.skip(reason)
    return Path(os.environ[MADE]).resolve()


@pytest.fixture(scope="session")
def observe(pytestconfig):
    """Note something for the table at the end: what was done, and what was observed."""
    rows = pytestconfig.stash.setdefault(OBSERVED, [])
    return lambda what, seen: rows.append((what, seen))


def pytest_terminal_summary(terminalreporter, config):
    """Print the table."""
    if rows := config.stash.get(OBSERVED, []):
        table = Table(
            "what was done", "what was observed", title="visualpath in a box of its own", title_justify="left"
        )
        for row in rows:
            table.add_row(*row)
        console = Console(highlight=False, markup=False, emoji=False, width=120)
        with console.capture() as capture:
            console.print(table)
        terminalreporter.write_line("\n" + capture.get())


@pytest.fixture(scope="session")
def box(made, observe):
    """A booted box that sees the stage and what the tests bring along."""
    shown = {"/srv/stage": made / "stage", VIDEO_PATH: SAMPLE, **{f"/srv/{path.name}": path for path in OURS}}
    with Box(shown) as box:
        observe("boot a systemd", f"{box.boot_s:.2f} s")
        yield box


@pytest.fixture(scope="session")
def chain(box, observe):
    """visualpath in that box, started as an operator does; every daemon serves."""
    install(box)
    install_moody(box)
    set_mood(box, "well")
    write_config(box, CONFIG)
    chain = Installed(box)
    began = time.monotonic()
    chain.vpctl("apply")
    chain.await_active()
    observe("vpctl apply: until all daemons serve", f"{time.monotonic() - began:.1f} s")
    return chain
