"""Live clips hold exactly the frames that the interval rule gives: real frame and clip daemons, numbered pictures.

What the rule gives comes from the headers that this test hears on the wire; what a clip holds, from its pixels. With
`-s` a table is printed. Cuts from files are held to the same rule in tests/unit/test_extract.py.
"""

import json
import random

import pytest
from audit import Audit, check_clip, pictures, wanted

MS = 1_000_000
S = 1000 * MS
TICK_NS = 1000  # of a clip's time stamps
PRE_NS, POST_NS = 300 * MS, 200 * MS

CONFIG = """
    state_dir: state
    ring: {{dir: ring, length: 30s}}
    clip: {{dir: clips, pre: 300ms, post: 200ms, stall_timeout: 60s, format: {codec}}}
    streams:
      cam1: {{source: "synthetic://?width=128&height=112&{source}", ready_timeout: 30s}}
"""

STREAMS = {
    "10": "fps=10&frames=40",
    "15": "fps=15&frames=60",
    "30": "fps=30&frames=120",
    "VFR": "fps=20&frames=80&vfr=1&seed=5",
}

LIVE = [
    ("before the start", 250, 100, 250),
    ("inside, at its end", 1500, 1200, 1500),
    ("inside, ahead of it", 2000, 2400, 2600),
    ("over the end", 3500, 3400, 4500),
]
"""Of each moment: when its trigger is sent, and its first and last instant; event time in ms."""

FROM_THE_RING = 8


def instants(published, seed):
    """Spans that are past, as they are asked for: to the instant of a frame, one ns beside it, anywhere, too far."""
    chance = random.Random(seed)
    last_ns = published[-1].t_ns
    while True:
        beside = [chance.choice(published).t_ns + chance.choice((-1, 0, 1)) for _ in range(2)]
        anywhere = [chance.randrange(-PRE_NS, last_ns + S) for _ in range(2)]
        start_ns, end_ns = sorted(chance.choice(pair) for pair in zip(beside, anywhere, strict=True))
        if end_ns - start_ns >= PRE_NS + POST_NS and start_ns <= last_ns:
            yield start_ns + PRE_NS, end_ns - POST_NS


def expected(published, asked, right):
    """What the sidecar must say: from when to when there are pictures, and what is absent at either end."""
    last, before = published[-1].t_ns, published[-2].t_ns
    ends = [*(header.t_ns for header in published[1:]), last + (last - before)]
    delivered = [right[0].t_ns, ends[right[-1].number]]
    gaps = []
    if asked[0] < delivered[0]:
        gaps.append({"from": asked[0], "to": delivered[0], "reason": "before_start"})
    if delivered[1] < asked[1]:
        gaps.append({"from": delivered[1], "to": asked[1], "reason": "after_end"})
    return {"asked": list(asked), "delivered": delivered, "gaps": gaps}


class Play:
    """One stream from its beginning to its end, and the clips of the moments in it."""

    def __init__(self, watch, trigger, ask, wait_for, clips_dir):
        self._watch, self._trigger, self._ask, self._wait_for = watch, trigger, ask, wait_for
        self._clips_dir = clips_dir
        self._cases = {}

    def run(self, seed):
        """Send all triggers; returns what was published, and (case, asked, path) of each clip."""
        for name, sent_ms, start_ms, end_ms in LIVE:
            self._watch.until(lambda w, sent_ns=sent_ms * MS: w.headers and w.headers[-1].t_ns >= sent_ns)
            self._send(name, start_ms * MS, end_ms * MS)
        published = self._watch.ended().headers
        self._saved()
        for number, moment in zip(range(1, FROM_THE_RING + 1), instants(published, seed), strict=False):
            self._send(f"from the ring {number}", *moment)
        paths = self._saved()
        return published, [(name, asked, paths[clip_id]) for clip_id, (name, asked) in self._cases.items()]

    def _send(self, name, start_ns, end_ns):
        trig = self._trigger(f"moment{len(self._cases)}", 1, start_ns, end_ns)
        self._cases[trig.trig_id] = name, (start_ns - PRE_NS, end_ns + POST_NS)

    def _saved(self):
        """The path of each clip by its id, once all are in their last form."""

        def rows():
            clips = self._ask("clip", "clips", {"limit": 1000})["clips"]
            finished = [row for row in clips if row["state"] == "saved" and row["h264"] in ("", "done")]
            return clips if len(finished) == len(self._cases) else None

        return {row["clip_id"]: self._clips_dir / row["path"] for row in self._wait_for(rows, timeout_s=60)}


def compare(published, asked, path, codec):
    """What is wrong with a clip, and its row of the table."""
    wrong = check_clip(Audit(), path)
    sidecar, shown = json.loads(path.with_suffix(".json").read_text()), pictures(path)
    held, right = [code for _, code in shown], wanted(published, asked)
    if held != right:
        wrong.append(f"it holds {held}, not {right}")
    elif (off_ns := max(abs(at_ns - (code.t_ns - right[0].t_ns)) for at_ns, code in shown)) > TICK_NS:
        wrong.append(f"a picture is shown {off_ns} ns off its time")
    if sidecar["codec"] != codec:
        wrong.append(f"it is {sidecar['codec']}")
    if (said := {key: sidecar[key] for key in ("asked", "delivered", "gaps")}) != expected(published, asked, right):
        wrong.append(f"its sidecar says {said}, not {expected(published, asked, right)}")
    row = f"{sidecar['codec']:5} {asked[0] / S:12.9f}..{asked[1] / S:.9f} {len(right):9} {len(held):5}"
    first, last = (str(code and code.number) for code in (held[0], held[-1]))
    gaps = ", ".join(f"{gap['reason']} {(gap['to'] - gap['from']) / MS:.3f} ms" for gap in sidecar["gaps"])
    return wrong, f"{row} {first:>6} {last:>5}  {gaps or '-'}"


@pytest.mark.parametrize(("rate", "codec"), [*((rate, "mjpeg") for rate in STREAMS), ("VFR", "h264")])
def test_a_live_clip_holds_the_frames_whose_interval_meets_its_span_and_says_what_is_absent(
    start_daemon, write_config, watch, trigger, ask, wait_for, short_dir, rate, codec
):
    config = write_config(CONFIG.format(codec=codec, source=STREAMS[rate]))
    start_daemon("clip", config)
    start_daemon("frame", config, "cam1")
    published, cases = Play(watch, trigger, ask, wait_for, short_dir / "clips").run(rate)
    assert watch.ids() == list(range(len(published)))
    print(f"\n{'fps':3} {'case':19} {'codec':5} {'asked (s)':25}  expected found  first  last  gaps")
    wrongs = []
    for name, asked, path in cases:
        wrong, row = compare(published, asked, path, codec)
        print(f"{rate:3} {name:19} {row}")
        wrongs += [f"{name}: {what}" for what in wrong]
    assert wrongs == []
