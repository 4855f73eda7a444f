"""The bodies of fusion's events on the tap, as PROTOCOL.md gives them."""

from __future__ import annotations

from typing import Any

from visualpath.core.align import AlignedSet
from visualpath.fusion.sources import Change, Up
from visualpath_protocol.messages import Obs, Skip


def about_change(change: Change) -> dict[str, Any]:
    """Body of `state`: a source has come or gone."""
    if isinstance(change, Up):
        return {"source": change.ping.source, "streams": change.ping.streams, "state": "up", "reason": ""}
    return {"source": change.source, "streams": change.streams, "state": "down", "reason": change.reason}


def about_obs(obs: Obs) -> dict[str, Any]:
    """Body of `obs`: who saw what on which frame; the signals of each observation."""
    return {
        "source": obs.source,
        "stream": obs.stream,
        "epoch": obs.epoch,
        "frame_id": obs.frame_id,
        "t_ns": obs.t_ns,
        "signals": [each.signals for each in obs.observations],
    }


def about_skip(skip: Skip) -> dict[str, Any]:
    """Body of `skip`: which frames a source will not report, and why."""
    return {
        "source": skip.source,
        "stream": skip.stream,
        "epoch": skip.epoch,
        "first_frame_id": skip.first_frame_id,
        "last_frame_id": skip.last_frame_id,
        "t_ns": skip.t_ns,
        "reason": skip.reason,
        "detail": skip.detail,
    }


def about_set(stream: str, epoch: int, aligned: AlignedSet) -> dict[str, Any]:
    """Body of `set`: which sources a frame left the alignment with, which it lacks, and why it left."""
    return {
        "stream": stream,
        "epoch": epoch,
        "frame_id": aligned.frame_id,
        "t_ns": aligned.t_ns,
        "obs": aligned.obs,
        "missing": aligned.missing,
        "skipped": aligned.skipped,
        "reason": aligned.reason,
        "hold_ns": aligned.hold_ns,
    }
