"""One line about a daemon, from its status: for `vpctl status` and `systemctl status`."""

from __future__ import annotations

from typing import Any


def summary(status: dict[str, Any]) -> str:
    """What matters most about one daemon."""
    counters = status["counters"]
    if "stream" in status:
        stream = status["stream"]
        reason = f" ({stream['reason']})" if stream["reason"] else ""
        fps = f" at {status['measured']['fps']:.3g} fps" if stream["state"] == "live" else ""
        return f"{stream['state']}{reason}, epoch {stream['epoch']}, {counters.get('frames', 0)} frames{fps}"
    if "extractor" in status:
        extractor = status["extractor"]
        skipped = sum(n for name, n in counters.items() if name.startswith("skipped."))
        latency_ms = extractor["latency_ms"]["p95"]
        pace = f" ({extractor['obs_per_s']:.3g}/s, p95 {latency_ms:.0f} ms)" if latency_ms is not None else ""
        return f"{extractor['state']}, {counters.get('sent.obs', 0)} observed{pace}, {skipped} skipped"
    if "outbox" in status:
        sources = ", ".join(f"{name} {source['state']}" for name, source in status["sources"].items()) or "no sources"
        sets, triggers = counters.get("sets", 0), counters.get("triggers", 0)
        return f"{sets} sets, {triggers} triggers, {status['outbox']} to deliver; {sources}"
    saved, failed = counters.get("clips.saved", 0), counters.get("clips.failed", 0)
    recording = sum(stream["recording"] for stream in status["streams"].values())
    return f"{saved} saved, {recording} recording, {failed} failed"
