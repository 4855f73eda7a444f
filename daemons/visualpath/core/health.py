"""How each daemon does its part: healthy, degraded or failed, why, and since when. Pure.

Judged by the freshness of data, not by who lives:
    1. A daemon is as well as the worst that is found about it; the whole is as well as the worst daemon.
    2. A stream that flows and is not answered is a failure of whoever does not answer. What does not flow is a failure
       of its stream alone, and none at all if the source has come to its end.
    3. What is counted (losses, a slow model) counts for as long as the daemons remember it, `lately`.
    4. `since` is when the state began; another reason for the same state does not begin it anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from visualpath_protocol.clock import NS_PER_S

State = Literal["healthy", "degraded", "failed"]
STATES: tuple[State, ...] = ("healthy", "degraded", "failed")

STALE_NS = 5 * NS_PER_S
"""For so long data may stay away: a frame, an observation, a set, an acknowledgement."""
START_NS = 60 * NS_PER_S
"""For so long a stream may begin."""
LOAD_NS = 300 * NS_PER_S
"""For so long a model may load at the start. For one that is loaded later the inference that waits is told as hung."""
DISK_NS = 60 * NS_PER_S
"""For so long the disk may take for one clip: to read it again, to sync it, to delete some."""
SILENT_TIMEOUTS = 3
"""A stream that calls itself live has failed when so many of its timeouts have brought no frame."""
FRAMES_ENOUGH = 300
"""After so many frames an extractor is judged: 10 s of a usual camera, all of them looked at."""
SHARE_MIN = 0.2
"""Of the frames that an extractor should look at, and of its observations that fusion should use."""
LOST_MAX = 0.1
"""Of the observations of an extractor. Who is restarted loses some."""
ENDS_MANY = 3
"""A daemon that ended so often lately will do so again."""
FREE_MIN_BYTES, FREE_MIN_SHARE = 512 << 20, 0.05
"""A disk is nearly full when less than both is free."""
REASONS = 3
"""So many are told."""

TROUBLES: dict[str, tuple[State, str]] = {
    "clips.no_space": ("degraded", "attempts to make a clip that the disk refused"),
    "dropped.record": ("degraded", "inputs that were not recorded"),
    "dropped.ring_full": ("degraded", "frames without room in the ring"),
    "failed.disk": ("degraded", "times that the disk of the clips did not answer"),
    "failed.fusion": ("degraded", "frames on which the fusion plug-in failed"),
    "failed.ledger": ("degraded", "writes that the ledger's disk refused"),
    "hooks.failed": ("degraded", "events that a hook did not take"),
    "hooks.full": ("degraded", "events for which too many waited already"),
    "lost.trigger": ("failed", "lost triggers"),
    "outbox.not_stored": ("degraded", "triggers that would not survive a crash"),
    "triggers.refused": ("degraded", "triggers that clip does not take"),
}
"""Counters that should not grow: what it means if one, or one that begins so, has grown lately."""

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """What is known of one daemon.

    Attributes:
        status: its answer to `status`; None if there is none.
        ends: how often it has ended by itself in the last 10 minutes.
        told: what its supervisor says of one that does not answer.
    """

    status: Answer | None
    ends: int = 0
    told: str = ""


@dataclass(frozen=True)
class Health:
    """How a daemon does; `since_wall_ns`: None if nobody knows."""

    state: State = "healthy"
    reason: str = ""
    since_wall_ns: int | None = None


@dataclass(frozen=True)
class _Finding:
    state: State
    reason: str
    for_ns: int | None = None


Findings = Iterator[_Finding]


def judge(seen: Mapping[str, Seen], now_wall_ns: int, before: Mapping[str, Health] | None = None) -> dict[str, Health]:
    """The health of each daemon.

    Args:
        seen: every daemon of the configuration, by name.
        now_wall_ns: UTC.
        before: the judgement before this; None if nobody has looked on.
    """
    return {name: _health(_found(name, seen), now_wall_ns, before, name) for name in seen}


def worst(parts: Mapping[str, Health]) -> State:
    """The state of the whole."""
    return max((health.state for health in parts.values()), key=STATES.index, default="healthy")


def _health(findings: list[_Finding], now_wall_ns: int, before: Mapping[str, Health] | None, name: str) -> Health:
    findings.sort(key=lambda finding: STATES.index(finding.state), reverse=True)
    state: State = findings[0].state if findings else "healthy"
    reason = "; ".join(finding.reason for finding in findings[:REASONS])
    known = before.get(name) if before is not None else None
    if known is not None and known.state == state:
        return Health(state, reason, known.since_wall_ns)
    for_ns = findings[0].for_ns if findings else None
    begun_now = now_wall_ns if before is not None else None
    return Health(state, reason, begun_now if for_ns is None else now_wall_ns - for_ns)


def _found(name: str, seen: Mapping[str, Seen]) -> list[_Finding]:
    """What there is to say of one; an answer that is not as it must be says nothing about anything."""
    try:
        return list(_findings(name, seen))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        told = f"{type(error).__name__}: {error}"[:100]
        return [_Finding("failed", f"an answer cannot be read ({told}): is it of another version? restart it")]


def _findings(name: str, seen: Mapping[str, Seen]) -> Findings:
    one = seen[name]
    if one.ends >= ENDS_MANY:
        yield _Finding("degraded", f"was started again {one.ends} times in 10 min")
    if one.status is None:
        yield _Finding("failed", f"does not answer: {one.told}" if one.told else "does not answer")
        return
    if "stream" in one.status:
        yield from _of_frame(one.status)
    elif "extractor" in one.status:
        yield from _of_extractor(name.removeprefix("extractor-"), one.status, seen)
    elif "outbox" in one.status:
        yield from _of_fusion(one.status, seen)
    elif "unfinished" in one.status:
        yield from _of_clip(one.status, seen)
    yield from _troubles(one.status)


def _troubles(status: Answer) -> Findings:
    for counter, (state, what) in TROUBLES.items():
        grown = {name: n for name, n in status["lately"].items() if name == counter or name.startswith(f"{counter}.")}
        if sum(grown.values()):
            of = ", ".join(name.removeprefix(f"{counter}.") for name, n in grown.items() if n and name != counter)
            yield _Finding(state, f"{what}: {sum(grown.values())}{f' ({of}; the log says why)' if of else ''}")


def _of_frame(status: Answer) -> Findings:
    stream, measured = status["stream"], status["measured"]
    age_ns, reason = measured["last_frame_age_ns"], stream["reason"]
    if stream["state"] == "ended" and reason:
        yield _Finding("failed", f"the source broke off: {reason}", age_ns)
    elif stream["state"] == "stalled":
        yield _Finding("failed", f"no frames: {reason}", age_ns)
    elif stream["state"] == "starting":
        late = status["uptime_ns"] > START_NS and (age_ns is None or age_ns > START_NS)
        yield _Finding("failed" if late else "degraded", "no frame yet")
    elif stream["state"] == "live" and age_ns > SILENT_TIMEOUTS * measured["timeout_ns"]:
        yield _Finding("failed", f"no frame for {_s(age_ns)}", age_ns)


def _flowing(seen: Mapping[str, Seen]) -> dict[str, int]:
    """By stream that flows: how long ago its newest frame was captured, in ns."""
    statuses = [one.status for one in seen.values() if one.status is not None and "stream" in one.status]
    return {
        status["stream"]["stream"]: status["measured"]["last_frame_age_ns"]
        for status in statuses
        if status["stream"]["state"] == "live" and not list(_of_frame(status))
    }


def _of_extractor(name: str, status: Answer, seen: Mapping[str, Seen]) -> Findings:
    extractor, backend = status["extractor"], status["extractor"]["backend"]
    state = extractor["state"]
    if state == "starting":
        late = status["uptime_ns"] > LOAD_NS and not extractor["registered"]
        yield _Finding("failed" if late else "degraded", "its model is being loaded")
        return
    if state == "hung":
        busy_ns = extractor["busy_ns"]
        yield _Finding("failed", f"one inference has run for {_s(busy_ns)}", busy_ns)
    elif state == "failed":
        yield _Finding("failed", f"no backend works: {backend['reason']}")
    elif state == "degraded":
        yield _Finding("degraded", "it failed on the last three frames, or more")
    if backend and backend["state"] in ("fallback", "probation"):
        yield _Finding("degraded", f"runs on {backend['name']}: {backend['reason'] or 'on probation'}")
    yield from _freshness(extractor, _flowing(seen))
    sent, lost, passed_over = (status["lately"].get(n, 0) for n in ("sent.obs", "dropped.obs", "skipped.backpressure"))
    looked = sent + lost
    if _is_few(looked, looked + passed_over):
        yield _Finding("degraded", f"too slow: it has looked at {looked} of {looked + passed_over} frames")
    if looked >= FRAMES_ENOUGH and lost > LOST_MAX * looked:
        yield _Finding("degraded", f"{lost} of {looked} observations lost while fusion was down or busy")
    fusion = next((one.status for one in seen.values() if one.status is not None and "outbox" in one.status), None)
    if fusion is not None:
        yield from _heard_by_fusion(name, status, fusion)


def _freshness(extractor: Answer, flowing: Mapping[str, int]) -> Findings:
    """It has 5 s for each of its streams, beside the inference at which it is."""
    patience_ns = STALE_NS * len(extractor["streams"]) + extractor["busy_ns"]
    fresh = {stream: facts for stream, facts in extractor["freshness"].items() if stream in flowing}
    unanswered = {s: facts["unanswered_ns"] for s, facts in fresh.items() if facts["unanswered_ns"] > patience_ns}
    deaf = {s: facts["silent_ns"] for s, facts in fresh.items() if facts["silent_ns"] - flowing[s] > STALE_NS}
    for stale, what in ((unanswered, "no observation of"), (deaf, "frames do not reach it:")):
        if stale:
            state: State = "failed" if len(stale) == len(fresh) else "degraded"
            longest_ns = max(stale.values())
            yield _Finding(state, f"{what} {', '.join(stale)} for {_s(longest_ns)}", longest_ns)


def _heard_by_fusion(name: str, status: Answer, fusion: Answer) -> Findings:
    if min(status["uptime_ns"], fusion["uptime_ns"]) < STALE_NS:
        return
    source, lately = fusion["sources"].get(name), fusion["lately"]
    if not status["extractor"]["registered"]:
        yield _Finding("failed", "fusion has not accepted it")
    elif source is None:
        yield _Finding("failed", "fusion does not know it")
    elif source["silent_ms"] * 1_000_000 > STALE_NS:
        yield _Finding("failed", f"fusion does not hear it for {_s(source['silent_ms'] * 1_000_000)}")
    came, used = lately.get(f"obs.{name}", 0), lately.get(f"fused.{name}", 0)
    if _is_few(used, came):
        yield _Finding("degraded", f"fusion could use {used} of {came} observations: the others came too late")


def _of_fusion(status: Answer, seen: Mapping[str, Seen]) -> Findings:
    flowing = _flowing(seen)
    for stream, facts in status["streams"].items():
        if stream not in flowing:
            continue
        if facts["state"] == "unknown" and status["uptime_ns"] > STALE_NS:
            yield _Finding("failed", f"it does not hear of {stream}")
        elif facts["unfused_ns"] > STALE_NS + status["window_ns"]:
            yield _Finding("failed", f"{stream}: no frame was fused for {_s(facts['unfused_ns'])}", facts["unfused_ns"])
    waiting, for_ns = status["outbox"], status["undelivered_ns"]
    if waiting and for_ns > STALE_NS:
        yield _Finding("degraded", f"{waiting} triggers wait for clip since {_s(for_ns)}", for_ns)


def _of_clip(status: Answer, seen: Mapping[str, Seen]) -> Findings:
    flowing, lately, disk = _flowing(seen), status["lately"], status["disk"]
    for stream, facts in status["streams"].items():
        silent_ns = facts["silent_ns"]
        if stream in flowing and silent_ns - flowing[stream] > STALE_NS:
            yield _Finding("failed", f"frames of {stream} do not reach it for {_s(silent_ns)}", silent_ns)
    if status["disk_busy_ns"] > DISK_NS:
        for_ns = status["disk_busy_ns"]
        yield _Finding("failed", f"the disk of the clips has not answered for {_s(for_ns)}", for_ns)
    failed, saved = lately.get("clips.failed", 0), lately.get("clips.saved", 0)
    if failed:
        state: State = "degraded" if saved else "failed"
        yield _Finding(state, f"{failed} of {failed + saved} clips could not be made")
    if disk is not None and disk["free_bytes"] < min(FREE_MIN_BYTES, FREE_MIN_SHARE * disk["total_bytes"]):
        yield _Finding("degraded", f"the disk of the clips is nearly full: {disk['free_bytes'] >> 20} MiB are free")


def _is_few(part: int, whole: int) -> bool:
    return whole >= FRAMES_ENOUGH and part < SHARE_MIN * whole


def _s(ns: int) -> str:
    return f"{ns / NS_PER_S:.0f} s"
