"""What several tests share: a fusion daemon without its sockets (record, replay, explain), a bench for one stream."""

from collections import Counter

import pytest
from stream_bench import Bench

from visualpath.core.stream_types import SourceDown, Tick
from visualpath.process import record_writer
from visualpath.process.decision import make_stream_fusion, setup_of
from visualpath.process.recorder import Recorder
from visualpath.runtime.config import load_config
from visualpath.runtime.refusals import Refusals
from visualpath_protocol.codec import encode
from visualpath_protocol.messages import Obs, ObservationBody, Ping, Skip, StreamState, Trig

MS = 1_000_000
START = 5_000 * MS
"""Monotonic time at which the daemon starts; event time 0 is then, too."""

CONFIG = """
streams: {cam1: {source: a.mp4}}
extractors: {face: %s, text: {}}
fusion: {rules: [{%s}]}
"""
RULE = "label: smile, when: face.count >= 1, for: 200ms, cooldown: 1s"


class Scene:
    """Is fed as the daemon is, and records as it does. Times are event times in ms; a frame every 50 ms."""

    def __init__(self, path, text, firings=None):
        path.mkdir(exist_ok=True)
        yaml = path / "visualpath.yaml"
        yaml.write_text(text)
        self.config = load_config(yaml)
        self.folder = self.config.record_dir
        self.counters = Counter()
        self.seq = Counter()
        self.trigs = []
        firings = {stream: dict(firings or {}) for stream in self.config.streams}
        self.recorder = Recorder(self.config, firings, Refusals(self.counters), START)
        self.streams = {
            name: make_stream_fusion(self.config.fusion, name, setup_of(self.config, name), firings[name], START)
            for name in self.config.streams
        }

    def feed(self, message, at_ms, stream="cam1"):
        now, fusion = START + round(at_ms * MS), self.streams[stream]
        due = fusion.next_deadline()
        if due is not None and due < now and not isinstance(message, Tick):
            self.feed(Tick(), (due - START) / MS, stream)
        wire = encode(message) if isinstance(message, (Obs, Skip, StreamState)) else None
        self.recorder.put(stream, message, now, wire)
        outcomes = fusion.feed(message, now)
        self.recorder.put_trigs(stream, outcomes, now)
        self.trigs += [encode(each) for each in outcomes if isinstance(each, Trig)]

    def live(self, *sources, epoch=3, at_ms=0):
        for source in sources:
            self.up(source, at_ms)
        self.feed(StreamState(stream="cam1", epoch=epoch, state="live", fps=20.0), at_ms)

    def up(self, source, at_ms, **fields):
        self.feed(Ping(source=source, instance="i", streams=["cam1"], state="ready", **fields), at_ms)

    def down(self, source, at_ms):
        self.feed(SourceDown(source=source), at_ms)

    def obs(self, source, frame_id, at_ms=None, epoch=3, data=None, t_ms=None, **signals):
        """20 ms after the frame, if `at_ms` says nothing else."""
        t_ms = frame_id * 50 if t_ms is None else t_ms
        self.seq[source] += 1
        bodies = [ObservationBody(signals=signals, data=data)] if signals or data is not None else []
        message = Obs(
            source=source, instance="i", seq=self.seq[source], stream="cam1", epoch=epoch, frame_id=frame_id,
            t_ns=t_ms * MS, mono_ns=START + (t_ms if at_ms is None else at_ms) * MS, observations=bodies,
            bound_ns=t_ms * MS,
        )  # fmt: skip
        self.feed(message, t_ms + 20 if at_ms is None else at_ms)

    def skip(self, source, first, last, at_ms=None, epoch=3, reason="backpressure"):
        self.seq[source] += 1
        message = Skip(
            source=source, instance="i", seq=self.seq[source], stream="cam1", epoch=epoch, first_frame_id=first,
            last_frame_id=last, first_t_ns=first * 50 * MS, t_ns=last * 50 * MS, reason=reason,
        )  # fmt: skip
        self.feed(message, last * 50 + 10 if at_ms is None else at_ms)

    def faces(self, first, last, count=1.0, epoch=3):
        """`face` and `text` report these frames."""
        for frame_id in range(first, last + 1):
            self.obs("text", frame_id, epoch=epoch)
            self.obs("face", frame_id, epoch=epoch, count=count)

    def write(self):
        """What the recorder's thread does by time."""
        self.recorder._writer._write_queued()

    def end(self):
        """Everything recorded is on the disk."""
        self.recorder.close()

    def files(self):
        return sorted(self.folder.iterdir())


@pytest.fixture
def make_scene(tmp_path, monkeypatch):
    """Make a scene of one rule, with `more` sections, or of a whole `config`.

    The disk is written by `write` and at the end, not by time.
    """
    monkeypatch.setattr(record_writer, "WRITE_EVERY_S", 3600)
    made = []

    def make(rule=RULE, face="{}", more="", config="", **options):
        made.append(Scene(tmp_path / f"scene{len(made)}", config or CONFIG % (face, rule) + more, **options))
        return made[-1]

    yield make
    for scene in made:
        scene.end()


@pytest.fixture
def scene(make_scene):
    return make_scene()


@pytest.fixture
def bench():
    bench = Bench()
    bench.state()
    bench.fusion.told.clear()
    return bench
