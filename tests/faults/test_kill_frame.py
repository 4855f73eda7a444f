"""kill -9 of the frame daemon while a clip is open: the clip holds what was published, and says what it lacks.

Real frame and clip daemons on a numbered live stream. What was published comes from the headers that this test hears
on the wire; what a clip holds, from its pixels. With `-s` a line is printed for each round.
"""

import json
import random
import time

import pytest
from audit import Audit, check_clip, pictures, wanted

from visualpath_protocol.clock import NS_PER_S, mono_ns

MS = 1_000_000
PRE_NS, HOLD_NS, POST_NS = 400 * MS, 400 * MS, 400 * MS
FRAME_NS = NS_PER_S // 30
FRESH_NS = 60 * MS  # the newest header is at most so old when a moment begins
ROUNDS = 10

CONFIG = """
    state_dir: state
    ring: {dir: ring, length: 30s}
    clip: {dir: clips, pre: 400ms, post: 400ms, stall_timeout: 60s, format: mjpeg}
    streams:
      cam1: {source: "synthetic://?width=128&height=112&fps=30&live=1&frames=0"}
"""


class Rounds:
    """Moments of a live stream whose frame daemon is killed again and again. Live event time is CLOCK_MONOTONIC."""

    def __init__(self, start_frame, watch, trigger, ask, wait_for, clips_dir):
        self._start_frame, self._watch, self._trigger = start_frame, watch, trigger
        self._ask, self._wait_for, self._clips_dir = ask, wait_for, clips_dir
        self._frame = start_frame()
        self._epoch = 0

    def kill_within(self, chance):
        """A moment begins, and the frame daemon is killed before its clip is complete; returns (wrong, line)."""
        trig, asked = self._moment()
        time.sleep(chance.uniform(0, max(0, asked[1] - mono_ns())) / NS_PER_S)
        killed_ns = mono_ns()
        self._frame.kill()
        self._frame = self._start_frame()
        self._watch.until(lambda w: w.headers[-1].epoch > self._epoch)
        back_s = (mono_ns() - killed_ns) / NS_PER_S
        wrong, line = self._check(trig, asked, killed_ns)
        killed = (killed_ns - trig.t_start_ns) / MS
        return wrong, f"{self._epoch:5} {killed:5.0f} ms {line}; epoch {self._watch.headers[-1].epoch} {back_s:.2f} s"

    def undisturbed(self):
        """A moment without a kill."""
        trig, asked = self._moment()
        self._watch.until(lambda w: w.headers[-1].t_ns > asked[1])
        wrong, line = self._check(trig, asked, mono_ns())
        return wrong, f"{self._epoch:5} {'none':>8} {line}"

    def _moment(self):
        """One that begins at the newest frame and ends later, with all of its pre-roll published; and what it asks."""
        self._watch.until(lambda w: w.headers and w.headers[-1].epoch > self._epoch)
        self._epoch = self._watch.headers[-1].epoch
        self._watch.until(lambda _: self._has_pre_roll())
        start_ns = self._published()[-1].t_ns
        trig = self._trigger("moment", self._epoch, start_ns, start_ns + HOLD_NS)
        return trig, (start_ns - PRE_NS, start_ns + HOLD_NS + POST_NS)

    def _has_pre_roll(self):
        first, last = self._published()[0], self._published()[-1]
        return last.t_ns > first.t_ns + PRE_NS and mono_ns() - last.t_ns < FRESH_NS

    def _published(self):
        return [header for header in self._watch.headers if header.epoch == self._epoch]

    def _check(self, trig, asked, until_ns):
        """The clip beside what was published until then; the ring may hold frames that nobody announced any more."""
        rows = self._wait_for(lambda: self._rows(trig.trig_id))
        paths = list(self._clips_dir.glob(f"*/*{trig.trig_id}*.mp4"))
        if len(rows) != 1 or len(paths) != 1 or rows[0]["state"] != "saved":
            return [f"{[(row['state'], row['why']) for row in rows]} and {len(paths)} files for one trigger"], "-"
        wrong = check_clip(Audit(), paths[0])
        sidecar = json.loads(paths[0].with_suffix(".json").read_text())
        held, right = [code for _, code in pictures(paths[0])], wanted(self._published(), asked)
        if held[: len(right)] != right:
            wrong.append(f"it holds {held}, and {right} was published")
        for number, code in enumerate(held[len(right) :], right[-1].number + 1):
            if code is None or code.number != number or code.t_ns > min(until_ns, asked[1]):
                wrong.append(f"after {right[-1]} it holds {code}")
        ended_ns = sidecar["delivered"][1]
        if held[-1] is None or abs(ended_ns - held[-1].t_ns - FRAME_NS) > 1:
            wrong.append(f"its last picture is {held[-1]}, and it ends at {ended_ns}")
        gaps = [{"from": ended_ns, "to": asked[1], "reason": "epoch_change"}] if ended_ns < asked[1] else []
        if sidecar["gaps"] != gaps:
            wrong.append(f"its gaps are {sidecar['gaps']}, not {gaps}")
        if unfinished := list((self._clips_dir / ".recording").iterdir()):
            wrong.append(f"left over: {unfinished}")
        told = ", ".join(f"{gap['reason']} {(gap['to'] - gap['from']) / MS:.0f} ms" for gap in sidecar["gaps"])
        first, last = (str(code and code.number) for code in (held[0], held[-1]))
        return wrong, f"{len(right):9} {len(held):5} {first:>6} {last:>5}  {told or '-'}"

    def _rows(self, trig_id):
        """Of the trigger, once none of them is unfinished."""
        rows = self._ask("clip", "clips", {"id": trig_id})["clips"]
        return rows if rows and all(row["state"] != "recording" for row in rows) else None


@pytest.fixture
def rounds(start_daemon, write_config, watch, trigger, ask, wait_for, short_dir):
    config = write_config(CONFIG)
    start_daemon("clip", config)
    return Rounds(lambda: start_daemon("frame", config, "cam1"), watch, trigger, ask, wait_for, short_dir / "clips")


def test_ten_kills_of_the_frame_daemon_within_a_clip_cost_only_what_it_did_not_publish_and_that_is_said(rounds):
    chance = random.Random(99)
    print("\nround epoch  killed  published found  first  last  gaps; then")
    wrongs = []
    for number in range(1, ROUNDS + 2):
        wrong, line = rounds.kill_within(chance) if number <= ROUNDS else rounds.undisturbed()
        print(f"{number:5} {line}")
        wrongs += [f"round {number}: {what}" for what in wrong]
    assert wrongs == []
