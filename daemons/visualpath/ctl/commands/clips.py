"""`vpctl clips`: what was kept, and why something was not."""

from __future__ import annotations

import click
from rich.table import Table

from visualpath.ctl.console import Vpctl, pass_vpctl
from visualpath_protocol.endpoints import CLIP


@click.command("clips")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many, at most.")
@pass_vpctl
def command(vpctl: Vpctl, limit: int) -> None:
    """List the newest clips, the newest last."""
    answer = vpctl.ask(CLIP, "clips", {"limit": limit})
    table = Table("trigger", "stream", "label", "state", "frames", "seconds", "gaps", "file or reason", box=None)
    for clip in answer["clips"]:
        sidecar = clip["sidecar"]
        first, until = sidecar.get("delivered", (0, 0))
        table.add_row(
            clip["trig_id"],
            clip["stream"],
            clip["label"],
            clip["state"],
            str(sidecar.get("frames", "-")),
            f"{(until - first) / 1e9:.2f}",
            ", ".join(gap["reason"] for gap in sidecar.get("gaps", [])) or "-",
            clip["path"] or clip["why"],
        )
    vpctl.show(answer, table if answer["clips"] else "no clips yet")
