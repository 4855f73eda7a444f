"""`vpctl top`: how streams, extractors and the alignment do, as it goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import click
from rich.live import Live

from visualpath.ctl.commands.status import Statuses, collect, report_down
from visualpath.ctl.commands.tail import Taps
from visualpath.ctl.console import Vpctl, pass_vpctl
from visualpath.ctl.sync_screen import picture
from visualpath.ctl.sync_view import SyncView
from visualpath_protocol.clock import mono_ns
from visualpath_protocol.endpoints import CLIP, FUSION

KINDS = ("obs", "skip", "set", "state", "trigger", "clip")
INTERVAL_S = 0.25
ASK_EVERY_S = 1.0


@click.command("top")
@click.option(
    "--interval", "interval_s", type=click.FloatRange(0.05, 60), default=INTERVAL_S, show_default=True,
    help="Between two pictures, in s.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Look on for a second, print once; so it is, too, without a terminal.")
@pass_vpctl
def command(vpctl: Vpctl, interval_s: float, once: bool) -> None:
    """Show how streams, extractors and the alignment do, as it goes on; Ctrl-C ends it.

    Sync Status shows, of each stream, the newest frame that waits (else the last that left) and the slowest of the last
    5 s: which extractors have answered, how long after the first of them, and how much of the window is over. Rates are
    of the last 5 s; times of streams and extractors count from a frame's capture. --json prints once.
    """
    view = SyncView(vpctl.config)
    taps = Taps(vpctl.config.endpoints(), [FUSION, CLIP], KINDS)
    try:
        if once or vpctl.as_json or not sys.stdout.isatty():
            _print_once(vpctl, view, taps)
        else:
            with suppress(KeyboardInterrupt):
                _show_live(vpctl, view, taps, interval_s)
    finally:
        taps.close()


def _print_once(vpctl: Vpctl, view: SyncView, taps: Taps) -> None:
    for statuses in _watch(vpctl, view, taps, INTERVAL_S):
        if view.answers.count < 2:  # there are no rates yet
            continue
        facts = view.facts(mono_ns())
        if vpctl.as_json:
            vpctl.show(facts, "")
        else:
            vpctl.console.print(picture(facts))
        report_down(vpctl, statuses)
        return


def _show_live(vpctl: Vpctl, view: SyncView, taps: Taps, interval_s: float) -> None:
    with Live(console=vpctl.console, screen=True, auto_refresh=False) as live:
        for _ in _watch(vpctl, view, taps, interval_s):
            live.update(picture(view.facts(mono_ns())), refresh=True)


def _watch(vpctl: Vpctl, view: SyncView, taps: Taps, interval_s: float) -> Iterator[Statuses]:
    """Keep the view up to date; at each interval give the last answers. Who is there must be known before events."""
    statuses = collect(vpctl, command="metrics")
    view.answered(statuses)
    yield statuses
    asked: Future[Statuses] | None = None
    ask_at = time.monotonic() + ASK_EVERY_S
    with ThreadPoolExecutor(max_workers=1) as background:  # a daemon that is down is waited for, events are not
        while True:
            until = time.monotonic() + interval_s
            if asked is None and time.monotonic() >= ask_at:
                asked = background.submit(collect, vpctl, command="metrics")
                ask_at = time.monotonic() + ASK_EVERY_S
            for event in taps.events(until):
                view.heard(event)
            if asked is not None and asked.done():
                statuses, asked = asked.result(), None
                view.answered(statuses)
            yield statuses
