"""What `vpctl top` makes of the daemons' answers and events, and how it looks."""

import copy
import io
import json
from collections import Counter

import msgspec
import pytest
from rich.console import Console

from visualpath.ctl.sync_screen import picture
from visualpath.ctl.sync_view import MAX_MOMENTS, SyncView
from visualpath.runtime.config import load_config
from visualpath.runtime.histogram import Histograms
from visualpath_protocol.messages import Event, Trig

S = 1_000_000_000
MS = 1_000_000
NOON = 1_767_268_800 * S
CONFIG = """
streams:
  cam1: {source: a.mp4}
extractors:
  face: {}
  gesture: {instances: 2}
  guess: {expected: false}
"""
FUSION_TOLD = {"state": "ready", "streams": ["cam1"], "expected": True, "silent_ms": 3, "lost": 0}
TRIG = Trig(
    trig_id="0123456789abcdef", stream="cam1", epoch=1, label="smile", reason="face.count >= 1", score=0.5,
    frame_id=7, t_start_ns=4 * S, t_end_ns=5 * S,
)  # fmt: skip


class Scene:
    """All daemons answer and all sources are up; times of events are ms after 0."""

    def __init__(self, config):
        self.view = SyncView(config)
        self.asked = 0
        self.histograms = Histograms(Counter(), 10)
        self.sources = {name: dict(FUSION_TOLD) for name in ("face", "gesture-0", "gesture-1")}
        self.answers = {
            "clip": {"streams": {"cam1": {"recording": 0}}},
            "fusion": {
                "sources": self.sources,
                "streams": {"cam1": {"state": "live", "epoch": 1, "sets": 0}},
                "outbox": 2,
            },
            **{f"extractor-{name}": self.extractor() for name in ("face", "gesture-0", "gesture-1", "guess")},
            "frame-cam1": {
                "stream": {"state": "live", "reason": "", "epoch": 1, "last_frame_id": 6},
                "measured": {"fps": 29.5, "last_frame_age_ns": 12 * MS},
            },
        }

    def extractor(self, state="ready", **told):
        latency_ms = {"p50": 22.0, "p95": 31.0}
        told = {"obs_per_s": 25.0, "latency_ms": latency_ms, "registered": True, "busy_ns": 0, **told}
        return {"extractor": {"state": state, **told}}

    def ask(self, down=(), **counters):
        """A second later; `counters` by daemon, with _ for -."""
        self.asked += 1
        common = {"pid": 1, "uptime_ns": self.asked * S, "histograms": self.histograms.snapshot()}
        self.view.answered(
            {
                daemon: None
                if daemon in down
                else {**copy.deepcopy(answer), **common, "counters": counters.get(daemon.replace("-", "_"), {})}
                for daemon, answer in self.answers.items()
            }
        )

    def tell(self, kind, body, at_ms=0):
        self.view.heard(Event(daemon="fusion", kind=kind, mono_ns=at_ms * MS, wall_ns=NOON, body=body))

    def obs(self, source, frame_id, at_ms, stream="cam1"):
        body = {"source": source, "stream": stream, "epoch": 1, "frame_id": frame_id, "t_ns": 1, "signals": []}
        self.tell("obs", body, at_ms)

    def left(self, frame_id, at_ms, obs, missing=(), skipped=(), reason="complete", hold_ms=0):
        body = {"stream": "cam1", "epoch": 1, "frame_id": frame_id, "t_ns": 1, "obs": obs, "missing": missing}
        self.tell("set", {**body, "skipped": skipped, "reason": reason, "hold_ns": hold_ms * MS}, at_ms)

    def skip(self, source, frame_id, reason="backpressure"):
        body = {"source": source, "stream": "cam1", "epoch": 1, "t_ns": 1, "reason": reason, "detail": ""}
        self.tell("skip", {**body, "first_frame_id": frame_id, "last_frame_id": frame_id})

    def facts(self, at_ms=0):
        return self.view.facts(at_ms * MS)

    def text(self, at_ms=0, width=120):
        console = Console(width=width, record=True, file=io.StringIO(), color_system=None)
        console.print(picture(self.facts(at_ms)))
        return console.export_text()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "visualpath.yaml"
    path.write_text(CONFIG)
    return load_config(path)


@pytest.fixture
def scene(config):
    return Scene(config)


# Streams --------------------------------------------------------------------------------------------


def test_a_stream_has_its_state_rates_and_last_frame(scene):
    scene.ask()
    scene.answers["fusion"]["streams"]["cam1"] = {"state": "live", "epoch": 1, "sets": 28}
    scene.histograms.observe("capture_to_set", 45 * MS, stream="cam1")
    scene.ask()
    assert scene.facts()["streams"]["cam1"] == {
        "state": "live", "reason": "", "epoch": 1, "last_frame_id": 6, "last_frame_age_ms": 12.0, "frames_per_s": 29.5,
        "sets_per_s": 28.0, "complete": None, "capture_to_set_ms": {"p50": 45.0, "p95": 49.5},
    }  # fmt: skip


def test_a_stream_that_the_running_fusion_does_not_know_yet_has_no_sets(scene):
    del scene.answers["fusion"]["streams"]["cam1"]
    scene.ask()
    scene.ask()
    assert scene.facts()["streams"]["cam1"]["sets_per_s"] is None


def test_a_stream_whose_daemon_is_down_is_down(scene):
    scene.ask(down=["frame-cam1"])
    stream = scene.facts()["streams"]["cam1"]
    assert (stream["state"], stream["last_frame_id"], stream["frames_per_s"]) == ("down", None, None)


# Extractors -----------------------------------------------------------------------------------------


def test_an_extractor_has_what_it_says_itself(scene):
    scene.answers["extractor-face"] = scene.extractor("busy", busy_ns=14 * MS)
    scene.ask()
    assert scene.facts()["extractors"]["face"] == {
        "state": "busy", "registered": True, "idle_on": [], "obs_per_s": 25.0,
        "latency_ms": {"p50": 22.0, "p95": 31.0}, "busy_ms": 14.0, "lost": {},
    }  # fmt: skip


def test_each_instance_is_an_extractor(scene):
    scene.ask()
    assert list(scene.facts()["extractors"]) == ["face", "gesture-0", "gesture-1", "guess"]


def test_an_extractor_that_does_not_answer_is_down(scene):
    scene.ask(down=["extractor-face"])
    assert scene.facts()["extractors"]["face"]["state"] == "down"


def test_losses_are_totals_and_rates_by_reason(scene):
    scene.ask(extractor_face={"skipped.gap": 2}, fusion={"late.face": 1})
    scene.sources["face"]["lost"] = 5
    scene.ask(extractor_face={"skipped.gap": 5}, fusion={"late.face": 1, "missing.slow.face": 4, "late.guess": 9})
    lost = scene.facts()["extractors"]["face"]["lost"]
    assert {reason: each["total"] for reason, each in lost.items()} == {
        "skipped.gap": 5, "late": 1, "missing.slow": 4, "lost": 5
    }  # fmt: skip
    assert [lost[reason]["per_s"] for reason in ("skipped.gap", "late", "lost")] == [3.0, 0.0, 5.0]


def test_idle_is_what_fusion_told(scene):
    scene.ask()
    scene.tell("state", {"stream": "cam1", "source": "face", "state": "idle"})
    assert scene.facts()["extractors"]["face"]["idle_on"] == ["cam1"]
    scene.tell("state", {"stream": "cam1", "source": "face", "state": "active"})
    assert scene.facts()["extractors"]["face"]["idle_on"] == []


def test_idle_on_another_stream_is_not_idle_on_this_one(scene):
    scene.ask()
    scene.tell("state", {"stream": "attic", "source": "face", "state": "idle"})
    assert scene.facts()["extractors"]["face"]["idle_on"] == []


def test_who_comes_up_is_not_idle(scene):
    scene.ask()
    scene.tell("state", {"stream": "cam1", "source": "face", "state": "idle"})
    scene.tell("state", {"source": "face", "streams": ["cam1"], "state": "up", "reason": ""})
    assert scene.facts()["extractors"]["face"]["idle_on"] == []


def test_a_source_that_the_configuration_does_not_name_is_shown_as_fusion_sees_it(scene):
    scene.sources["guest"] = {**FUSION_TOLD, "state": "busy"}
    scene.ask(fusion={"obs.guest": 10})
    scene.ask(fusion={"obs.guest": 30})
    guest = scene.facts()["extractors"]["guest"]
    assert (guest["state"], guest["registered"], guest["obs_per_s"]) == ("busy", True, 20.0)


# Sync Status ----------------------------------------------------------------------------------------


def states(scene, at_ms=0):
    return {source: each["state"] for source, each in scene.facts(at_ms)["sync"]["cam1"]["newest"]["sources"].items()}


@pytest.mark.parametrize(("frame_id", "instance"), [(8, "gesture-0"), (9, "gesture-1")])
def test_only_the_instance_that_looks_at_the_frame_is_waited_for(scene, frame_id, instance):
    scene.ask()
    scene.obs("face", frame_id, 0)
    assert states(scene) == {"face": "seen", instance: "waiting"}


def test_who_is_not_expected_is_shown_only_when_it_answers(scene):
    scene.ask()
    scene.obs("guess", 8, 0)
    assert states(scene)["guess"] == "seen"


def test_a_source_of_which_fusion_knows_nothing_is_down(scene):
    del scene.sources["gesture-0"]
    scene.ask()
    scene.obs("face", 8, 0)
    assert states(scene)["gesture-0"] == "down"


@pytest.mark.parametrize(
    ("told", "waited_for"), [({}, True), ({"expected": False}, False), ({"streams": ["attic"]}, False)]
)
def test_a_source_beside_the_configuration_is_waited_for_as_fusion_does(scene, told, waited_for):
    scene.sources["guest"] = {**FUSION_TOLD, **told}
    scene.ask()
    scene.obs("face", 8, 0)
    assert (states(scene).get("guest") == "waiting") == waited_for


def test_fusion_tells_the_epoch_before_the_first_set(scene):
    scene.ask()
    scene.tell("obs", {"source": "face", "stream": "cam1", "epoch": 99, "frame_id": 8})
    assert scene.facts()["sync"]["cam1"]["newest"] is None


@pytest.mark.parametrize(("told", "state"), [(["down"], "down"), (["down", "up"], "waiting"), (["up"], "waiting")])
def test_coming_and_going_is_taken_at_once(scene, told, state):
    scene.ask()
    for each in told:
        scene.tell("state", {"source": "gesture-0", "streams": ["cam1"], "state": each, "reason": ""})
    scene.obs("face", 8, 0)
    assert states(scene)["gesture-0"] == state


def test_events_of_unknown_streams_are_left_alone(scene):
    scene.ask()
    scene.obs("face", 8, 0, stream="attic")
    assert scene.facts()["sync"] == {"cam1": {"newest": None, "slowest": None}}


@pytest.mark.parametrize("body", [None, {"source": "face"}, {"source": 5, "stream": [], "epoch": 0, "frame_id": 0}])
def test_what_cannot_be_read_is_counted(scene, body):
    scene.tell("obs", body)
    assert scene.facts()["unreadable"] == 1


@pytest.mark.parametrize("hold_ms", [-1, 3_600_001])
def test_a_time_that_no_frame_is_held_for_is_not_believed(scene, hold_ms):
    scene.ask()
    scene.left(8, 100, ["face"], hold_ms=hold_ms)
    assert scene.facts()["unreadable"] == 1
    assert scene.facts()["sync"]["cam1"]["newest"] is None


def test_a_kind_of_event_that_is_not_known_is_skipped(scene):
    scene.tell("trace", {"x": 1})
    assert scene.facts()["unreadable"] == 0


# Moments and daemons --------------------------------------------------------------------------------


def test_a_trigger_and_its_clip_are_one_moment(scene):
    scene.tell("trigger", msgspec.to_builtins(TRIG))
    scene.tell("clip", {"trig_id": TRIG.trig_id, "state": "saved", "path": "d/x.mp4"})
    [moment] = scene.facts()["moments"]
    assert (moment["label"], moment["time"]) == ("smile", "2026-01-01T12:00:00.000Z")
    assert moment["clip"] == {"state": "saved", "path": "d/x.mp4", "why": ""}


def test_the_last_moments_are_kept(scene):
    for number in range(MAX_MOMENTS + 2):
        scene.tell("clip", {"trig_id": f"{number:016x}", "state": "failed", "why": "disk full"})
    assert [int(each["trig_id"], 16) for each in scene.facts()["moments"]] == [2, 3, 4]


def test_daemons_are_up_or_down_with_what_they_dropped(scene):
    scene.ask(down=["clip"], fusion={"dropped.too_late": 3, "sets": 9})
    daemons = scene.facts()["daemons"]
    assert [daemon for daemon, told in daemons.items() if not told["up"]] == ["clip"]
    assert daemons["fusion"]["lost"] == {"dropped.too_late": {"total": 3, "per_s": None}}


def test_programs_can_read_the_facts(scene):
    scene.ask()
    scene.obs("face", 8, 0)
    scene.tell("trigger", msgspec.to_builtins(TRIG))
    assert json.loads(json.dumps(scene.facts())) == scene.facts()


# The picture ----------------------------------------------------------------------------------------


def line(scene, beginning, **options):
    found = [each for each in scene.text(**options).splitlines() if each.strip().startswith(beginning)]
    assert found, scene.text(**options)
    return " ".join(found[0].split())


def test_before_anything_is_known_there_is_a_picture(scene):
    assert "\ncam1  no frames of late\n" in scene.text()


def test_a_frame_in_work_shows_who_has_answered_and_who_is_waited_for(scene):
    scene.ask()
    scene.skip("gesture-0", 8)
    scene.obs("guess", 8, 0)
    scene.obs("face", 8, 22)
    assert line(scene, "✓ face", at_ms=55) == "✓ face 22 ms \N{EN DASH} gesture-0 skip (backpressure) ✓ guess 0 ms"
    scene.obs("guess", 9, 60)
    assert line(scene, "· face", at_ms=90) == "· face 30 ms · gesture-1 30 ms ✓ guess 0 ms"


@pytest.mark.parametrize(
    ("at_ms", "bar"),
    [
        (0, "[░░░░░░░░░░░░░░░░░░░░] 0/100 ms waiting"),
        (55, "[███████████░░░░░░░░░] 55/100 ms waiting"),
        (250, "[████████████████████] 250/100 ms waiting"),
    ],
)
def test_the_bar_is_as_full_as_the_window(scene, at_ms, bar):
    scene.ask()
    scene.obs("face", 8, 0)
    assert line(scene, "[", at_ms=at_ms) == bar


def test_where_the_clock_of_fusion_is_ahead_the_bar_is_empty(scene):
    scene.ask()
    scene.obs("face", 8, 3_600_000)
    assert line(scene, "[", at_ms=0) == "[░░░░░░░░░░░░░░░░░░░░] 0/100 ms waiting"


def test_a_frame_that_left_shows_why(scene):
    scene.ask()
    scene.obs("face", 8, 0)
    scene.left(8, 100, ["face"], missing=["gesture-0"], reason="window", hold_ms=100)
    scene.obs("gesture-0", 8, 134)
    assert line(scene, "✓ face", at_ms=140) == "✓ face 0 ms ✗ gesture-0 late 134 ms"
    assert line(scene, "[", at_ms=140) == "[████████████████████] 100/100 ms window"


def test_the_slowest_frame_stands_below_the_newest(scene):
    scene.ask()
    for frame_id, hold_ms in ((8, 80), (9, 20)):
        scene.left(frame_id, 100 + frame_id, ["face"], hold_ms=hold_ms)
    text = scene.text(at_ms=120)
    assert text.index("cam1 #9\n") < text.index("cam1 #8, slowest of 5 s")


def test_daemons_that_are_down_come_first(scene):
    scene.ask(down=["clip", "extractor-face"])
    assert scene.text().splitlines()[0] == "down: clip, extractor-face"


def test_what_is_down_is_red(scene):
    scene.ask(down=["clip"])
    console = Console(width=120, force_terminal=True, color_system="standard", no_color=False)
    with console.capture() as captured:
        console.print(picture(scene.facts()))
    assert "\x1b[1;31mdown: clip" in captured.get()


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"state": "hung", "busy_ns": 12_000 * MS}, "face hung 25.0 22/31 12000"),
        ({"state": "ready", "registered": False}, "face ready, not accepted by fusion 25.0 22/31 -"),
        ({"state": "starting", "obs_per_s": 0.0, "latency_ms": {"p50": None, "p95": None}}, "face starting 0.0 -/- -"),
    ],
)
def test_an_extractor_is_one_row(scene, told, shown):
    scene.answers["extractor-face"] = scene.extractor(**told)
    scene.ask()
    assert line(scene, "face ").startswith(shown)


def test_an_idle_extractor_is_said_to_be_idle(scene):
    scene.ask()
    scene.tell("state", {"stream": "cam1", "source": "face", "state": "idle"})
    assert line(scene, "face ").startswith("face idle on cam1")


def test_losses_are_shown_with_their_rate(scene):
    scene.ask(extractor_face={"skipped.gap": 2, "dropped.obs": 7})
    scene.ask(extractor_face={"skipped.gap": 5, "dropped.obs": 7})
    assert line(scene, "face ").endswith("dropped.obs 7, gap 5 (3.0/s)")


def test_a_moment_is_one_line(scene):
    scene.ask()
    scene.tell("trigger", msgspec.to_builtins(TRIG))
    scene.tell("clip", {"trig_id": TRIG.trig_id, "state": "failed", "why": "disk full"})
    said = "smile on cam1 4.000s..5.000s, score 0.50: face.count >= 1 failed disk full"
    assert line(scene, TRIG.trig_id) == f"{TRIG.trig_id} 12:00:00Z {said}"
    assert line(scene, "Moments") == "Moments outbox 2"


def test_what_other_daemons_dropped_is_said(scene):
    scene.ask(fusion={"dropped.too_late": 3})
    assert line(scene, "fusion:") == "fusion: dropped.too_late 3"


def test_frames_whose_end_was_not_told_are_said(scene):
    scene.ask()
    scene.obs("face", 8, 0)
    assert line(scene, "the tap", at_ms=5000) == "the tap did not tell the end of frames: 1"


def test_what_a_peer_says_does_not_steer_the_terminal(scene):
    scene.answers["frame-cam1"]["stream"]["reason"] = "\x1b[2Jgone"
    scene.ask()
    scene.tell("clip", {"trig_id": TRIG.trig_id, "state": "failed", "why": "x\x1b[31m"})
    assert "\x1b" not in scene.text()


@pytest.mark.parametrize("width", [1, 10, 40, 80])
def test_a_narrow_terminal_is_filled_and_not_exceeded(scene, width):
    scene.ask(down=["clip"], extractor_face={"skipped.gap": 5})
    scene.obs("face", 8, 0)
    scene.tell("trigger", msgspec.to_builtins(TRIG))
    assert max(map(len, scene.text(width=width).splitlines())) <= width
