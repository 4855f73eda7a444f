"""Tables and verdicts of bench_streams.py."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from streams_chain import STREAMS
from streams_figures import MEMORY_LIMIT_MIB, MIB, grows_in_number, is_lost, judge, trend
from streams_measured import Measured
from streams_usage import TRANSCODER

from visualpath_protocol.endpoints import CLIP, FUSION, frame_daemon

EARLY_S = 60.0
SHOWN = 10
"""Of what is wrong, lines of each kind."""
SLACK_FRAMES = 3
"""By so many a count may differ from another that was asked for a moment earlier."""


def report(run: Measured, console: Console) -> bool:
    """Print everything; return whether all targets are met."""
    console.print(usage_table(run))
    console.print(
        f"memory in MiB: resident at the start, after {EARLY_S:g} s and at the end; private: written by this process "
        "alone; slope of private, by least squares over the last two thirds, +- twice its error\n"
    )
    console.print(stream_table(run))
    console.print(frame_line(run) + "\n")
    console.print(drop_table(run))
    console.print(load_line(run) + "\n")
    verdicts = [restarts(run), memory(run), descriptors(run), frames(run), clips(run)]
    for wrong, text in verdicts:
        console.print(f"{'MISSED' if wrong else 'ok'}: {text}")
        for line in wrong[:SHOWN]:
            console.print(f"    {line}")
        if len(wrong) > SHOWN:
            console.print(f"    and {len(wrong) - SHOWN} more")
    return not any(wrong for wrong, _ in verdicts)


def usage_table(run: Measured) -> Table:
    """What each daemon uses of the machine."""
    sizes = "resident", "proportional", "private", "slope, MiB/h", "memory"
    table = Table("daemon", "CPU of a core", "threads", *sizes, "fds", box=None, pad_edge=False)
    times_s = run.times_s
    early = next((n for n, at_s in enumerate(times_s) if at_s - times_s[0] >= EARLY_S), -1)
    for daemon in run.after:
        used = run.usages(daemon)
        first, last = used[0], used[-1]
        line = trend(*run.private(daemon))
        share = (last.cpu_s - first.cpu_s) / (times_s[-1] - times_s[0])
        counts = [each.fds for each in used]
        table.add_row(
            daemon, f"{share:.1%}", str(last.threads),
            f"{mib(first.rss)} -> {mib(used[early].rss)} -> {mib(last.rss)}", mib(last.pss),
            f"{mib(first.private)} -> {mib(used[early].private)} -> {mib(last.private)}",
            f"{line.per_hour / MIB:+.2f} +- {line.noise_per_hour / MIB:.2f}", judge(*run.private(daemon)),
            f"{counts[0]} -> {counts[-1]}, {min(counts)} to {max(counts)}",
        )  # fmt: skip
    table.add_row(TRANSCODER, *transcoder_cells(run, times_s[-1] - times_s[0]))
    return table


def transcoder_cells(run: Measured, elapsed_s: float) -> list[str]:
    """What the clip daemon's children use: their CPU is known when they have ended, their memory while they run."""
    used, seen = run.usages(CLIP), run.usages(TRANSCODER)
    share = (used[-1].children_cpu_s - used[0].children_cpu_s) / elapsed_s
    threads, rss, private = (
        max((getattr(each, name) for each in seen), default=0) for name in ("threads", "rss", "private")
    )
    most = f"at most {mib(rss)}", "", f"at most {mib(private)}"
    return [f"{share:.1%}", str(threads), *most, "", f"seen in {len(seen)} of {len(run.samples)} samples"]


def stream_table(run: Measured) -> Table:
    """What each camera gave, and its ring."""
    columns = "stream", "frames due", "published", "a second", "ring, MiB: after a third, at the end, at most"
    table = Table(*columns, box=None, pad_edge=False)
    for stream in STREAMS:
        sizes = [each.ring_bytes[stream] for each in run.samples]
        published, due = run.gained(frame_daemon(stream))["frames"], run.frames_due(stream)
        per_s = published / run.passed_s(frame_daemon(stream))
        rings = ", ".join(mib(size) for size in (sizes[run.late][0], sizes[-1], max(sizes)))
        table.add_row(stream, str(due), str(published), f"{per_s:.3f}", rings)
    return table


def frame_line(run: Measured) -> str:
    """All frames through the chain."""
    fusion, clip = run.gained(FUSION), run.gained(CLIP)
    parts = [f"{run.published} frames published", f"{clip['frames']} heard of by clip"]
    for source in run.sources:
        observed, skipped = run.looked_at(source)
        parts.append(f"{source}: {observed} observed, {skipped} left out")
    parts.append(f"{fusion['sets']} sets, {fusion['sets.complete']} of them complete")
    return "; ".join(parts)


def drop_table(run: Measured) -> Table:
    """All counters that need not grow, and have."""
    table = Table("daemon", "what grew, by reason", "by", "", box=None, pad_edge=False)
    for daemon, name, count in run.abnormal():
        table.add_row(daemon, name, str(count), "lost" if is_lost(name) else "")
    if not table.row_count:
        table.add_row("all", "nothing: no drop, skip, refusal, failure or late arrival", "0")
    return table


def load_line(run: Measured) -> str:
    """How busy the machine was, and how the frame daemons' work compares with its necessary part."""
    loads = [each.load for each in run.samples]
    text = f"load of the machine: {loads[0]:.2f} at the start, {max(loads):.2f} at most, {loads[-1]:.2f} at the end"
    if run.picture_s is None:
        return text
    used_s = sum(run.usages(frame_daemon(s))[-1].cpu_s - run.usages(frame_daemon(s))[0].cpu_s for s in STREAMS)
    ratio = used_s / (run.picture_s * run.published)
    bare = f"the same pictures drawn and encoded in a bare loop ({run.picture_s * 1e3:.2f} ms each)"
    return f"{text}\nthe frame daemons' CPU is {ratio:.2f} of that of {bare}"


def restarts(run: Measured) -> tuple[list[str], str]:
    """Whether each daemon is the process that it was."""
    wrong = [daemon for daemon in run.after if len({each.pid for each in run.usages(daemon)}) > 1]
    return wrong, "no daemon was started again"


def memory(run: Measured) -> tuple[list[str], str]:
    """Whether private memory is flat in all daemons."""
    wrong = []
    for daemon in run.after:
        verdict = judge(*run.private(daemon))
        if verdict != "flat":
            rise_mib, noise_mib = trend(*run.private(daemon)).in_ten_minutes_mib
            wrong.append(f"{daemon} {verdict}: {rise_mib:+.2f} +- {noise_mib:.2f} MiB in 10 minutes")
    return wrong, f"memory is flat: no daemon goes on growing by {MEMORY_LIMIT_MIB:g} MiB in 10 minutes"


def descriptors(run: Measured) -> tuple[list[str], str]:
    """Whether no daemon leaks file descriptors."""
    wrong = [
        f"{daemon}: {', '.join(map(str, counts))}"
        for daemon in run.after
        if grows_in_number(counts := [each.fds for each in run.usages(daemon)[run.late]])
    ]
    return wrong, "file descriptors are flat"


def frames(run: Measured) -> tuple[list[str], str]:
    """Whether all frames that were due have come, and through the whole chain."""
    wrong = [f"{daemon}: {name} {count}" for daemon, name, count in run.abnormal() if is_lost(name)]
    for stream in STREAMS:
        due, came = run.frames_due(stream), run.gained(frame_daemon(stream))["frames"]
        if came < due - SLACK_FRAMES:
            wrong.append(f"{stream}: {came} of {due} frames due were published")
    looked_at = {source: run.looked_at(source) for source in run.sources}
    chain = [
        ("heard of by clip", run.gained(CLIP)["frames"], run.published),
        *((f"observed or left out by {source}", sum(each), run.published) for source, each in looked_at.items()),
        ("in sets", run.gained(FUSION)["sets"], max(observed for observed, _ in looked_at.values())),
    ]
    slack = SLACK_FRAMES * len(STREAMS)
    wrong += [f"{count} of {of} frames were {what}" for what, count, of in chain if count < of - slack]
    return wrong, "no frame is lost"


def clips(run: Measured) -> tuple[list[str], str]:
    """Whether every trigger has a complete clip."""
    wrong = [f"{trig_id}: {'; '.join(lacks)}" for trig_id, lacks in run.wrong.items() if lacks]
    if len(run.wrong) != run.triggers:
        wrong.append(f"{len(run.wrong)} of {run.triggers} triggers have clips")
    merged = f"{run.triggers} triggers, {run.clips} clips; H.264, each read again and compared with its sidecar"
    return wrong, f"every trigger has its complete clip ({merged})"


def mib(size: int) -> str:
    """A size for people."""
    return f"{size / MIB:.1f}"
