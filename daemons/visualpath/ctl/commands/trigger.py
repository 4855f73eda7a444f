"""`vpctl trigger STREAM`: keep this moment."""

from __future__ import annotations

import click

from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.names import complete_stream
from visualpath_protocol.endpoints import FUSION


@click.command("trigger")
@click.argument("stream", shell_complete=complete_stream)
@click.option("--label", default="manual", show_default=True, help="What kind of moment.")
@click.option("--reason", default="asked for by hand", show_default=True, help="One line for people.")
@pass_vpctl
def command(vpctl: Vpctl, stream: str, label: str, reason: str) -> None:
    """Keep the present moment of STREAM as a clip."""
    streams = vpctl.ask(FUSION, "status")["streams"]
    if stream not in streams:
        vpctl.fail(f"no stream {stream!r}; there are {', '.join(streams)}", EXIT_REFUSED)
    t_ns = streams[stream]["last_t_ns"]
    if t_ns is None:
        vpctl.fail(f"stream {stream} has no frames yet", EXIT_REFUSED)
    # The time is fixed here, so that a command that is sent twice is one trigger.
    trig = vpctl.ask(FUSION, "trigger", {"stream": stream, "label": label, "reason": reason, "t_ns": t_ns})
    vpctl.show(
        trig, f"trigger {trig['trig_id']} on {stream} at {trig['t_ns'] / 1e9:.3f} s; `vpctl clips` shows the clip"
    )
