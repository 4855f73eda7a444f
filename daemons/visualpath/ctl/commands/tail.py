"""`vpctl tail`: what happens in all daemons, as it happens."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import click
import msgspec
import numpy as np
import zmq

from visualpath.ctl.commands.status import collect
from visualpath.ctl.console import Vpctl, pass_vpctl
from visualpath.ctl.names import complete_daemon
from visualpath_protocol.clock import rfc3339
from visualpath_protocol.codec import Codec
from visualpath_protocol.endpoints import Endpoints, extractor_daemon
from visualpath_protocol.errors import ProtocolError
from visualpath_protocol.messages import Event, seconds
from visualpath_protocol.sockets import TAP, ZmqContext, connect

POLL_MS = 200
PIPED_WIDTH = 10_000


def _place(body: dict[str, Any]) -> str:
    return f"{body['stream']}/{body['epoch']} #{body['frame_id']} {seconds(body['t_ns'])}"


def _obs(body: dict[str, Any]) -> str:
    found = body["signals"] if "signals" in body else [each.get("signals", {}) for each in body["observations"]]
    signals = " | ".join(" ".join(f"{k}={v:.3g}" for k, v in each.items()) or "no signals" for each in found)
    return f"{body['source']} {_place(body)} {signals or 'nothing found'}"


def _skip(body: dict[str, Any]) -> str:
    run = f"#{body['first_frame_id']}"
    if body["last_frame_id"] != body["first_frame_id"]:
        run += f"-#{body['last_frame_id']}"
    return f"{body['source']} {body['stream']}/{body['epoch']} {run} {body['reason']} {body['detail']}"


def _set(body: dict[str, Any]) -> str:
    parts = [f"{key} {','.join(body[key])}" for key in ("obs", "missing", "skipped") if body[key]]
    return f"{_place(body)} {body['reason']} after {body['hold_ns'] / 1e6:.0f} ms: {'; '.join(parts)}"


def _state(body: dict[str, Any]) -> str:
    reason = f": {body['reason']}" if body.get("reason") else ""
    if "source" in body:
        return f"source {body['source']} is {body['state']}{reason}"
    return f"{body['stream']}/{body['epoch']} is {body['state']}{reason}"


def _trigger(body: dict[str, Any]) -> str:
    span = f"{seconds(body['t_start_ns'])}..{seconds(body['t_end_ns'])}"
    head = f"{body['trig_id']} {body['label']} {body['stream']}/{body['epoch']} {span}"
    return f"{head} score {body['score']:.2f}: {body['reason']}"


def _clip(body: dict[str, Any]) -> str:
    return f"{body['trig_id']} {body['state']} {body.get('path') or body.get('why')}"


KINDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "state": _state,
    "obs": _obs,
    "skip": _skip,
    "set": _set,
    "trigger": _trigger,
    "clip": _clip,
}
"""What matters of each kind's body, for people."""


@click.command("tail")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Only these; default: all.")
@click.option(
    "--daemon",
    "daemons",
    multiple=True,
    shell_complete=complete_daemon,
    help="Only of these; default: all but extractors, whose words fusion repeats in short.",
)
@click.option("--seconds", "duration_s", type=click.FloatRange(0, min_open=True), help="End after so long.")
@pass_vpctl
def command(vpctl: Vpctl, kinds: tuple[str, ...], daemons: tuple[str, ...], duration_s: float | None) -> None:
    """Show events of all daemons as they come; Ctrl-C ends it.

    --kind and --daemon may be given several times. With --json each event is one line.
    """
    chosen = vpctl.daemons(daemons)
    repeated = set() if daemons else set(map(extractor_daemon, vpctl.config.extractors))
    deadline = time.monotonic() + duration_s if duration_s is not None else None
    with suppress(KeyboardInterrupt):
        taps = Taps(vpctl.config.endpoints(), [daemon for daemon in chosen if daemon not in repeated], kinds)
        try:
            _say_who_is_down(vpctl, chosen)
            for event in taps.events(deadline):
                click.echo(as_json(event) if vpctl.as_json else as_line(event, max(map(len, chosen)), _width()))
        finally:
            taps.close()


def _say_who_is_down(vpctl: Vpctl, daemons: list[str]) -> None:
    down = [daemon for daemon, status in collect(vpctl, daemons).items() if status is None]
    if down:
        click.echo(f"vpctl: down at present: {', '.join(down)}; their events will come once they run", err=True)


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED_WIDTH


class Taps:
    """Subscriptions to the taps of several daemons.

    Args:
        kinds: of events; none: all.
    """

    def __init__(self, endpoints: Endpoints, daemons: list[str], kinds: tuple[str, ...]) -> None:
        self._kinds = frozenset(kinds)
        self._codec = Codec(Event, max_bytes=TAP.max_bytes)
        keys = {daemon: endpoints.client_keys(daemon, TAP.name, "vpctl") for daemon in daemons}
        self._context: ZmqContext = zmq.Context()
        self._sockets = [
            connect(self._context, TAP, endpoints.address(daemon, TAP.name), keys=keys[daemon]) for daemon in daemons
        ]
        self._poller = zmq.Poller()
        for socket in self._sockets:
            for kind in kinds or ("",):
                socket.subscribe(kind)
            self._poller.register(socket, zmq.POLLIN)

    def events(self, deadline: float | None) -> Iterator[Event]:
        """Each event that comes until the deadline (monotonic seconds)."""
        while (left_ms := POLL_MS if deadline is None else int((deadline - time.monotonic()) * 1000)) > 0:
            for socket, _ in self._poller.poll(min(POLL_MS, left_ms)):
                with suppress(ProtocolError):  # what no event is, is nothing to show; the daemons count their own
                    event = self._codec.decode(socket.recv_multipart()[-1])
                    if not self._kinds or event.kind in self._kinds:  # a subscription takes all that begins so
                        yield event

    def close(self) -> None:
        """Give the sockets back."""
        for socket in self._sockets:
            socket.close(0)
        self._context.term()


def as_line(event: Event, daemon_width: int, width: int) -> str:
    """An event for people, in one line of at most `width` characters."""
    show = KINDS.get(event.kind)
    try:
        text = show(event.body) if show is not None else repr(event.body)
    except (AttributeError, KeyError, TypeError, ValueError):  # of another minor version: shown as it is
        text = repr(event.body)
    line = f"{rfc3339(event.wall_ns)[11:]} {event.daemon:{daemon_width}} {event.kind:7} {text}".rstrip()
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line if len(line) <= width else line[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"


def as_json(event: Event) -> str:
    """An event for programs, with its time in words."""
    fields = {name: getattr(event, name) for name in ("daemon", "kind", "mono_ns", "wall_ns", "body")}
    return msgspec.json.encode({"time": rfc3339(event.wall_ns), **fields}, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)
