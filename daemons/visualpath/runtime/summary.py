"""One line about a daemon, from its status: for `vpctl status` and `systemctl status`."""

from __future__ import annotations

from typing import Any

from visualpath_protocol.clock import rfc3339


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
        state = extractor["state"] + _backend(extractor.get("backend"))
        if extractor["state"] != "starting" and not extractor["registered"]:
            state += " (not accepted by fusion)"
        return f"{state}, {counters.get('sent.obs', 0)} observed{pace}, {skipped} skipped"
    if "outbox" in status:
        sources = ", ".join(f"{name} {source['state']}" for name, source in status["sources"].items()) or "no sources"
        sets, triggers = counters.get("sets", 0), counters.get("triggers", 0)
        return f"{sets} sets, {triggers} triggers, {status['outbox']} to deliver; {sources}"
    if "hooks" in status:
        told = sum(n for name, n in counters.items() if name.startswith("hooks.done."))
        waiting = sum(hook["waiting"] for hook in status["hooks"].values())
        return f"the others are {status['state']}; {told} events told, {waiting} to tell"
    saved, failed = counters.get("clips.saved", 0), counters.get("clips.failed", 0)
    recording = sum(stream["recording"] for stream in status["streams"].values())
    return f"{saved} saved, {recording} recording, {failed} failed"


def _backend(backend: dict[str, Any] | None) -> str:
    """Which of an extractor's backends is in use, and why not the best; "" where there is no choice."""
    if backend is None:
        return ""
    remarks = ["on probation"] if backend["state"] == "probation" else []
    remarks += [f"on the CPU: {backend['about']['no_gpu']}"] if "no_gpu" in backend["about"] else []
    remarks += [backend["reason"]] if backend["reason"] else []
    remarks += [f"loading {backend['loading']}"] if backend["loading"] else []
    told = f" ({'; '.join(remarks)})" if remarks else ""
    since = f", since {rfc3339(backend['since_wall_ns'])[:16]}Z" if backend["state"] != "ok" else ""
    return f" on {backend['name']}{told}{since}" if backend["name"] else told
