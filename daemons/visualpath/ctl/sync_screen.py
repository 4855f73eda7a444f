"""The picture of `vpctl top`, from the facts of a `SyncView`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Facts = dict[str, Any]

BAR_WIDTH = 20
STYLES = {
    "down": "bold red",
    "hung": "bold red",
    "stalled": "bold red",
    "failed": "bold red",
    "missing": "red",
    "late": "red",
    "window": "red",
    "overflow": "red",
    "degraded": "yellow",
    "idle": "yellow",
    "waiting": "yellow",
    "seen": "green",
    "complete": "green",
}
MARKS = {"seen": "✓", "waiting": "·", "skip": "\N{EN DASH}", "missing": "✗", "late": "✗", "idle": "○", "down": "○"}
SAYS_NOTHING_MORE = ("seen", "waiting")
"""States that their marks say well enough."""


def picture(facts: Facts) -> Group:
    """What people see."""
    return Group(*_parts(facts))


def _parts(facts: Facts) -> Iterator[RenderableType]:
    down = [daemon for daemon, told in facts["daemons"].items() if not told["up"]]
    if down:
        yield Text(f"down: {', '.join(down)}\n", STYLES["down"])
    yield _streams(facts["streams"])
    yield Text()
    yield _extractors(facts["extractors"])
    yield Text()
    yield Text("Sync Status", "bold")
    for stream, sync in facts["sync"].items():
        yield from _sync(stream, sync, facts["window_ms"])
    yield Text()
    yield Text("Moments", "bold").append(f"  outbox {_number(facts['outbox'], '.0f')}", "default")
    for moment in facts["moments"]:
        yield _moment(moment)
    yield from _remarks(facts)


def _streams(streams: Facts) -> Table:
    table = _table("stream", "state", "epoch", "fps", "sets/s", "complete", "ms to set p50/p95", "last frame")
    for stream, each in streams.items():
        state = f"{each['state']}: {each['reason']}" if each["reason"] else each["state"]
        age = _number(each["last_frame_age_ms"], ".0f")
        table.add_row(
            stream,
            Text(_printable(state), STYLES.get(each["state"], "")),
            _number(each["epoch"], "d"),
            _number(each["frames_per_s"], ".1f"),
            _number(each["sets_per_s"], ".1f"),
            _number(each["complete"], ".1%"),
            _percentiles(each["capture_to_set_ms"]),
            "-" if each["last_frame_id"] is None else f"#{each['last_frame_id']}, {age} ms ago",
        )
    return table


def _extractors(extractors: Facts) -> Table:
    table = _table("extractor", "state", "OBS/s", "ms to OBS p50/p95", "busy ms", "lost, by reason")
    for source, each in extractors.items():
        state, remark = each["state"], ""
        if each["idle_on"] and state in ("ready", "busy"):
            state, remark = "idle", f" on {', '.join(each['idle_on'])}"
        elif not each["registered"] and state in ("ready", "busy", "degraded"):
            remark = ", not accepted by fusion"
        table.add_row(
            source,
            Text(state + remark, STYLES.get(state, "")),
            _number(each["obs_per_s"], ".1f"),
            _percentiles(each["latency_ms"]),
            _number(each["busy_ms"] or None, ".0f"),
            _losses(each["lost"]) or "-",
        )
    return table


def _sync(stream: str, sync: Facts, window_ms: float) -> Iterator[Text]:
    """The newest frame and the slowest: who has answered, and how much of the window was over."""
    newest, slowest = sync["newest"], sync["slowest"]
    if newest is None:
        yield Text(f"{stream}  no frames of late")
        return
    yield _frame(f"{stream} #{newest['frame_id']}", newest, window_ms)
    if slowest is not None:
        yield _frame(f"{stream} #{slowest['frame_id']}, slowest of 5 s", slowest, window_ms)


def _frame(title: str, frame: Facts, window_ms: float) -> Text:
    line = Text(f"{title}\n   ")
    for source, each in frame["sources"].items():
        words = f" {MARKS[each['state']]} {source}"
        words += "" if each["state"] in SAYS_NOTHING_MORE else f" {each['state']}"
        words += "" if each["ms"] is None else f" {each['ms']:.0f} ms"
        words += f" ({each['reason']})" if each["reason"] else ""
        line.append(f"{_printable(words)}  ", STYLES.get(each["state"], "dim"))
    filled = round(BAR_WIDTH * min(1.0, max(0.0, frame["hold_ms"] / window_ms)))
    line.append(f"\n    [{'█' * filled}{'░' * (BAR_WIDTH - filled)}] {frame['hold_ms']:.0f}/{window_ms:.0f} ms  ")
    left = frame["left"] or "waiting"
    return line.append(left, STYLES.get(left, ""))


def _moment(moment: Facts) -> Text:
    line = Text(f"  {moment['trig_id']}")
    if "label" in moment:  # else it was decided before anybody looked on
        span = f"{moment['t_start_ns'] / 1e9:.3f}s..{moment['t_end_ns'] / 1e9:.3f}s"
        line.append(f"  {moment['time'][11:19]}Z")
        line.append(f"  {moment['label']} on {moment['stream']} {span}, score {moment['score']:.2f}", "bold")
        line.append(f": {_printable(moment['reason'])}")
    clip = moment["clip"]
    if clip is not None:
        words = f"  {clip['state']} {clip['path'] or clip['why']}"
        line.append(_printable(words), STYLES.get(clip["state"], ""))
    return line


def _remarks(facts: Facts) -> Iterator[Text]:
    """What should not be, elsewhere than in an extractor."""
    for daemon, told in facts["daemons"].items():
        if not daemon.startswith("extractor-") and told["lost"]:
            yield Text(f"{daemon}: {_losses(told['lost'])}", "yellow")
    if facts["untold"]:
        yield Text(f"the tap did not tell the end of frames: {facts['untold']}", "yellow")
    if facts["unreadable"]:
        yield Text(f"{facts['unreadable']} events cannot be read: is fusion of another version?", "yellow")


def _losses(lost: Facts) -> str:
    """E.g. `backpressure 12 (0.4/s), late 3`: a skip goes by its reason alone."""
    words = []
    for reason, counted in lost.items():
        per_s = counted["per_s"]
        rate = f" ({per_s:.1f}/s)" if per_s is not None and per_s >= 0.05 else ""
        words.append(f"{reason.removeprefix('skipped.')} {counted['total']}{rate}")
    return ", ".join(words)


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _percentiles(ms: Facts) -> str:
    return f"{_number(ms['p50'], '.0f')}/{_number(ms['p95'], '.0f')}"


def _printable(text: str) -> str:
    """What a peer says may hold what would steer the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
