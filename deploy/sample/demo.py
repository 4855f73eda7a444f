"""`make demo`: run the whole chain on one video in a fresh state directory and show what came of it.

    demo.py VIDEO DIR

DIR is made anew. It ends with the tables, `DIR/report.json` (ns integers; paths relative to the working
directory) and exit code 0 if every trigger became a clip that decodes completely.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import av
from rich.console import Console
from rich.table import Table

from visualpath.core.errors import CommandError, Unreachable, VisualpathError
from visualpath.ctl.supervision import last_words
from visualpath.ctl.supervisor import LocalSupervisor
from visualpath.runtime.config import Config, load_config
from visualpath.runtime.control import ControlClient
from visualpath.runtime.roles import roles
from visualpath_protocol.endpoints import CLIP, FUSION, frame_daemon

STREAM = "demo"
TEMPLATE = Path(__file__).with_name("demo.yaml")
POLL_S = 0.5
SHOW_EVERY_S = 2.0
START_TIMEOUT_S = 90.0
SILENCE_TIMEOUT_S = 30.0
MAX_CLIPS = 300
MAX_LOG_LINES = 1000

Statuses = dict[str, dict[str, Any]]


class DemoFailed(VisualpathError):
    """The demo cannot go on."""


class Demo:
    """One run of the chain on one video."""

    def __init__(self, video: Path, folder: Path) -> None:
        self.console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
        self.folder = folder
        self.config = self._prepare(video)
        self.supervisor = LocalSupervisor(self.config)
        self.client = ControlClient(self.config.endpoints())

    def _prepare(self, video: Path) -> Config:
        if video.is_dir():
            raise DemoFailed(f"{video}: this is a directory; give one file in it")
        if not video.exists():
            raise DemoFailed(f"{video}: no such file; give one with `make demo VIDEO=path`")
        path = self.folder / "visualpath.yaml"
        if path.exists():
            LocalSupervisor(load_config(path)).stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        text = TEMPLATE.read_text()
        for name, value in (("VIDEO", video.resolve()), ("VENVS", Path(sys.prefix).parent)):
            text = text.replace(f'"${{{name}}}"', json.dumps(str(value), ensure_ascii=False))
        path.write_text(text)
        config = load_config(path)
        shutil.rmtree(config.ring_dir, ignore_errors=True)
        return config

    def run(self) -> bool:
        """Run the chain to the end of the video; True if all went well."""
        self.supervisor.start()
        try:
            statuses = self._watch()
            answer = self.client.ask(CLIP, "clips", {"limit": MAX_CLIPS})
        finally:
            self.supervisor.stop()
            shutil.rmtree(self.config.ring_dir, ignore_errors=True)
        report = make_report(statuses, answer, self.config)
        (self.folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
        decoded = {clip["path"]: decodable_frames(Path(clip["path"])) for clip in report["clips"]}
        self._show(statuses, report, answer["clips"], decoded)
        whole = all(decoded[clip["path"]] == clip["frames"] for clip in report["clips"])
        return whole and {trigger["id"] for trigger in report["triggers"]} <= set(clip_of(report))

    def _watch(self) -> Statuses:
        """Wait until everything that was seen has become a clip."""
        progress, changed, shown = "", time.monotonic(), 0.0
        limit_s = START_TIMEOUT_S
        while True:
            statuses = self._statuses()
            if statuses is not None:
                if is_finished(statuses):
                    return statuses
                line = progress_line(statuses)
                if line != progress:
                    progress, changed, limit_s = line, time.monotonic(), SILENCE_TIMEOUT_S
                    if changed >= shown + SHOW_EVERY_S:
                        shown = changed
                        self.console.print(line)
            self._check_processes()
            if time.monotonic() - changed > limit_s:
                raise DemoFailed(f"nothing has moved for {limit_s:.0f} s; logs: {self.supervisor.folder}")
            time.sleep(POLL_S)

    def _statuses(self) -> Statuses | None:
        """Every daemon's status; None while one does not answer yet."""
        try:
            return {role.daemon: self.client.ask(role.daemon, "status") for role in roles(self.config)}
        except (Unreachable, CommandError):
            return None

    def _check_processes(self) -> None:
        for daemon, process in self.supervisor.processes().items():
            if process.state == "failing":
                raise DemoFailed(last_words(self.supervisor, daemon))

    def _show(self, statuses: Statuses, report: dict[str, Any], clips: list[Any], decoded: dict[str, int]) -> None:
        counts = Table("what", "count", box=None, title="the chain", title_justify="left")
        counts.add_row("frames", str(report["streams"][STREAM]["frames"]))
        fusion = statuses[FUSION]
        for source, n in report["observations"].items():
            missing, lost = fusion["counters"].get(f"missing.{source}", 0), fusion["sources"][source]["lost"]
            losses = f", missing in {missing} sets, {lost} messages lost" if missing or lost else ""
            counts.add_row(f"observed by {source}", f"{n} (skipped {report['skips'][source]}{losses})")
        counts.add_row("aligned sets", str(report["sets"]))
        counts.add_row("triggers", str(len(report["triggers"])))
        counts.add_row("clips", str(len(report["clips"])))
        table = Table("trigger", "moment (s)", "score", "clip (s)", "frames", "lacks", box=None)
        table.add_column("file", overflow="fold")
        by_id = clip_of(report)
        why = {trig_id: clip["why"] for clip in clips for trig_id in clip["trig_ids"]}
        for trigger in report["triggers"]:
            moment = span(trigger["t_start_ns"], trigger["t_end_ns"])
            clip = by_id.get(trigger["id"])
            cells = ("-", "-", "-", f"no clip: {why[trigger['id']]}") if clip is None else clip_cells(clip, decoded)
            table.add_row(trigger["id"], moment, f"{trigger['score']:.2f}", *cells)
        self.console.print()
        self.console.print(counts)
        self.console.print()
        self.console.print(table if report["triggers"] else "no triggers: the rule found no moment in this video")
        for line in self.supervisor.log_lines(FUSION, MAX_LOG_LINES):
            if " WARNING " in line:
                self.console.print(f"fusion warns: {line.partition('fusion: ')[2]}")
        memory = ", ".join(f"{name} {status['rss_bytes'] >> 20} MiB" for name, status in statuses.items())
        jpeg_bytes = statuses[frame_daemon(STREAM)]["counters"]["jpeg_bytes_sent"]
        self.console.print(f"\nresident memory: {memory}")
        self.console.print(f"JPEG bytes sent through sockets: {jpeg_bytes} (local readers take them from the ring)")
        self.console.print(f"report: {relative(self.folder / 'report.json')}; logs: {relative(self.supervisor.folder)}")


def is_finished(statuses: Statuses) -> bool:
    """The stream has ended, all of it is fused, every trigger delivered, every clip written.

    Raises:
        DemoFailed: the video cannot be read.
    """
    stream = statuses[frame_daemon(STREAM)]["stream"]
    if stream["state"] == "stalled":
        raise DemoFailed(stream["reason"])
    fusion, clip = statuses[FUSION], statuses[CLIP]
    return (
        stream["state"] == "ended"
        and fusion["streams"][STREAM]["drained"]
        and fusion["outbox"] == 0
        and clip["unfinished"] == 0
    )


def progress_line(statuses: Statuses) -> str:
    """How far it is."""
    stream, fusion, clip = statuses[frame_daemon(STREAM)], statuses[FUSION], statuses[CLIP]
    if stream["stream"]["state"] == "starting":
        return "starting: waiting until all extractors are ready"
    done_s = (stream["stream"]["last_t_ns"] or 0) / 1e9
    sets, triggers = fusion["counters"].get("sets", 0), fusion["counters"].get("triggers", 0)
    return f"{done_s:6.1f} s: {sets} sets, {triggers} triggers, {clip['counters'].get('clips.saved', 0)} clips"


def make_report(statuses: Statuses, answer: dict[str, Any], config: Config) -> dict[str, Any]:
    """What the run came to, for programs."""
    frame, fusion = statuses[frame_daemon(STREAM)], statuses[FUSION]
    stream, counters = frame["stream"], fusion["counters"]
    saved = [clip for clip in answer["clips"] if clip["state"] == "saved"]
    return {
        "schema": 1,
        "streams": {
            STREAM: {
                "epoch": stream["epoch"],
                "frames": frame["counters"].get("frames", 0),
                "first_t_ns": stream["first_t_ns"],
                "last_t_ns": stream["last_t_ns"],
            }
        },
        "observations": {source: counters.get(f"obs.{source}", 0) for source in config.extractors},
        "skips": {source: counters.get(f"skips.{source}", 0) for source in config.extractors},
        "sets": counters.get("sets", 0),
        "triggers": [
            {
                "id": trig["trig_id"],
                **{key: trig[key] for key in ("stream", "epoch", "label", "t_start_ns", "t_end_ns", "score")},
            }
            for trig in answer["triggers"]
        ],
        "clips": [
            {
                "trigger_ids": [trig["trig_id"] for trig in clip["sidecar"]["triggers"]],
                "stream": clip["stream"],
                "path": relative(Path(answer["dir"]) / clip["path"]),
                **{key: clip["sidecar"][key] for key in ("asked", "delivered", "frames", "gaps")},
            }
            for clip in saved
        ],
    }


def clip_of(report: dict[str, Any]) -> dict[str, Any]:
    """The clip of each trigger that has one, by the trigger's id."""
    return {trigger_id: clip for clip in reversed(report["clips"]) for trigger_id in clip["trigger_ids"]}


def decodable_frames(path: Path) -> int:
    """How many pictures of a clip decode."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def clip_cells(clip: dict[str, Any], decoded: dict[str, int]) -> tuple[str, str, str, str]:
    """A clip's cells in the table."""
    n = decoded[clip["path"]]
    frames = str(n) if n == clip["frames"] else f"{n} decode of {clip['frames']}"
    lacks = ", ".join(f"{gap['reason']} {(gap['to'] - gap['from']) / 1e9:.2f} s" for gap in clip["gaps"]) or "-"
    return span(*clip["delivered"]), frames, lacks, clip["path"]


def span(from_ns: int, to_ns: int) -> str:
    """Event time as people read it."""
    return f"{from_ns / 1e9:.2f} to {to_ns / 1e9:.2f}"


def relative(path: Path) -> str:
    """As seen from here, where that is below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("video", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    try:
        return 0 if Demo(args.video, args.folder.resolve()).run() else 1
    except VisualpathError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
