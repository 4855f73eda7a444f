"""One line about a daemon, from its status: for `vpctl status` and `systemctl status`."""

from __future__ import annotations

from typing import Any


def summary(status: dict[str, Any]) -> str:
    """What matters most about one daemon."""
    counters = status["counters"]
    if "stream" in status:
        stream = status["stream"]
        reason = f" ({stream['reason']})" if stream["reason"] else ""
        return f"{stream['state']}{reason}, epoch {stream['epoch']}, {counters.get('frames', 0)} frames"
    if "extractor" in status:
        skipped = sum(n for name, n in counters.items() if name.startswith("skipped."))
        return f"{status['extractor']['state']}, {counters.get('sent.obs', 0)} observed, {skipped} skipped"
    if "outbox" in status:
        sources = ", ".join(f"{name} {source['state']}" for name, source in status["sources"].items()) or "no sources"
        sets, triggers = counters.get("sets", 0), counters.get("triggers", 0)
        return f"{sets} sets, {triggers} triggers, {status['outbox']} to deliver; {sources}"
    saved, failed = counters.get("clips.saved", 0), counters.get("clips.failed", 0)
    recording = sum(stream["recording"] for stream in status["streams"].values())
    return f"{saved} saved, {recording} recording, {failed} failed"
