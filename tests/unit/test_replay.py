"""The replay of a record, and the in-process driver: the same inputs give the same bytes."""

import os

import pytest

from visualpath.core.align import Late
from visualpath.core.errors import RecordError
from visualpath.core.fusion import BaseFusion, FusionResult
from visualpath.core.observation import Observation
from visualpath.core.rules import RulesFusion
from visualpath.core.stream_types import ByHand, Fused
from visualpath.core.trigger import Trigger
from visualpath.process.ipc import ALIGNMENT_WINDOW_NS, FusionProcess
from visualpath.process.record import Entry, RecordReader, files_at
from visualpath.process.replay import Decided, Replay, compare
from visualpath.runtime.config import load_config
from visualpath_protocol.codec import encode
from visualpath_protocol.messages import StreamState, Trig, make_trig_id

MS = 1_000_000
START = 5_000 * MS


def replayed(paths, fusion=None):
    replay = Replay(paths, fusion)
    for _ in replay.steps():
        pass
    return replay


def bodies(decided):
    return [each.body for each in decided]


@pytest.fixture
def afternoon(scene):
    """Two moments, skips, a source that dies, windows that run out, a restart of the stream, a trigger by hand."""
    scene.live("face", "text")
    scene.faces(0, 2, count=0.0)
    scene.faces(3, 9)
    scene.skip("face", 10, 14)
    scene.faces(15, 40)
    scene.down("text", 2100)
    for frame_id in range(41, 50):
        scene.obs("face", frame_id, count=1.0)
    scene.up("text", 2600)
    for frame_id in range(52, 60):
        scene.obs("face", frame_id, count=1.0)  # and text is waited for until the window is over
    scene.feed(ByHand(label="look", t_ns=3000 * MS, frame_id=60, reason="a noise"), 3050)
    scene.feed(StreamState(stream="cam1", epoch=4, state="live", fps=20.0), 3100)
    for frame_id in range(30):
        scene.obs("face", frame_id, at_ms=3200 + frame_id * 50, epoch=4, count=1.0)
    scene.end()
    return scene


# The same bytes -------------------------------------------------------------------------------------


def test_a_replay_gives_the_bytes_that_were_decided_and_so_does_another(afternoon):
    assert len(afternoon.trigs) >= 4
    first, second = (replayed(files_at(afternoon.folder)) for _ in range(2))
    assert bodies(first.decided) == bodies(second.decided) == afternoon.trigs
    assert bodies(first.recorded) == afternoon.trigs
    assert first.notes == []


def test_the_in_process_driver_gives_the_same_bytes(afternoon):
    rules = RulesFusion(afternoon.config.fusion.rules)
    driver = FusionProcess(afternoon.config.fusion.window_ns, fusion=rules, stream="cam1")
    for source in ("face", "text"):  # which are configured, and have not come
        driver.source_up(source, START)
        driver.source_down(source, START)
    trigs = []
    for entry in RecordReader(files_at(afternoon.folder)):
        if isinstance(entry, Entry) and not isinstance(entry.message, Trig):
            trigs += [o for o in driver.add(entry.message, entry.now_ns) if isinstance(o, Trig)]
    assert [encode(each) for each in trigs] == afternoon.trigs


def test_a_cooldown_of_an_earlier_run_holds_in_the_replay_too(make_scene):
    scene = make_scene(firings={"smile": (3, 100 * MS)})
    scene.live("face", "text")
    scene.faces(0, 40)
    scene.end()
    replay = replayed(files_at(scene.folder))
    assert replay.decided[0].trig.t_start_ns == 1100 * MS
    assert bodies(replay.decided) == scene.trigs


def test_replicas_are_one_source_to_the_rules_in_the_replay_too(make_scene):
    scene = make_scene(face="{instances: 2}")
    first, second = (name for name in scene.config.extractors if name != "text")
    scene.live()
    scene.up(first, 0, stride=2, phase=0)
    scene.up(second, 0, stride=2, phase=1)
    for frame_id in range(8):
        scene.obs(first if frame_id % 2 == 0 else second, frame_id, count=1.0)
    scene.end()
    assert len(scene.trigs) == 1
    assert bodies(replayed(files_at(scene.folder)).decided) == scene.trigs


# What is missing ------------------------------------------------------------------------------------


@pytest.fixture
def long_afternoon(make_scene):
    """More than the record keeps; `face` is seen always, so that each firing depends on the one before."""
    scene = make_scene(more="record: {size: 8MiB}")
    scene.live("face", "text")
    for frame_id in range(120):
        scene.obs("text", frame_id, data=os.urandom(100_000))
        scene.obs("face", frame_id, count=1.0)
        scene.write()
    scene.end()
    return scene


def test_a_record_that_begins_in_the_middle_gives_the_same_bytes_from_its_first_firing_on(long_afternoon):
    files = files_at(long_afternoon.folder)
    assert "000000" not in files[0].name
    replay = replayed(files)
    assert len(replay.decided) >= 2
    assert bodies(replay.decided) == bodies(replay.recorded) == long_afternoon.trigs[-len(replay.decided) :]
    assert "begins in the middle of a run" in replay.notes[0]


def test_each_part_of_a_record_replays_by_itself(long_afternoon):
    for path in files_at(long_afternoon.folder):
        replay = replayed([path])
        assert bodies(replay.decided) == bodies(replay.recorded)


def test_a_file_that_is_gone_is_told(long_afternoon):
    first, _, *rest = files_at(long_afternoon.folder)
    replay = replayed([first, *rest])
    assert "what came before it is not there" in replay.notes[-1]
    assert not replay.whole


def test_a_record_that_begins_in_the_middle_is_whole_from_there_on(long_afternoon):
    assert replayed(files_at(long_afternoon.folder)).whole


def test_a_damaged_record_is_not_whole(afternoon):
    (path,) = files_at(afternoon.folder)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert not replayed([path]).whole


def test_after_damage_in_the_middle_the_next_file_begins_anew(long_afternoon):
    files = files_at(long_afternoon.folder)
    whole = files[1].read_bytes()
    for damaged, told in ((whole[:-500_000], "in the middle of a frame"), (whole + b"\xff" * 50, "damaged at byte")):
        files[1].write_bytes(damaged)
        notes = replayed(files).notes
        assert "at least 1 inputs before it are missing" in notes[-2]
        assert told in notes[-1]


def test_damage_is_told(afternoon):
    (path,) = files_at(afternoon.folder)
    path.write_bytes(path.read_bytes() + bytes(50))
    replay = replayed([path])
    assert "damaged at byte" in replay.notes[0]
    assert bodies(replay.decided) == afternoon.trigs


def test_a_fusion_plug_in_sees_the_same_sets_again(afternoon):
    (path,) = files_at(afternoon.folder)
    sets = [[o.aligned.as_dict() for o in step.outcomes if isinstance(o, Fused)] for step in Replay([path]).steps()]
    again = [[o.aligned.as_dict() for o in step.outcomes if isinstance(o, Fused)] for step in Replay([path]).steps()]
    assert sum(map(len, sets)) > 80
    assert sets == again


# Another rule ---------------------------------------------------------------------------------------


def with_rules(tmp_path, rules):
    path = tmp_path / "other.yaml"
    path.write_text(
        f"streams: {{cam1: {{source: a}}}}\nextractors: {{face: {{}}, age: {{}}}}\nfusion: {{rules: [{rules}]}}\n"
    )
    return load_config(path).fusion


def trial(scene, fusion):
    replay = replayed(files_at(scene.folder), fusion)
    difference = compare(replay.recorded, replay.decided)
    return [len(getattr(difference, kind)) for kind in ("same", "gone", "added", "changed")]


def test_a_rule_that_never_fires_loses_all_but_what_was_asked_for_by_hand(afternoon, tmp_path):
    fusion = with_rules(tmp_path, "{label: smile, when: age.years > 1}")
    assert trial(afternoon, fusion) == [1, len(afternoon.trigs) - 1, 0, 0]


def test_another_label_is_added(afternoon, tmp_path):
    smile = "{label: smile, when: face.count >= 1, for: 200ms, cooldown: 1s}"
    fusion = with_rules(tmp_path, f"{smile}, {{label: empty, when: face.count < 1, cooldown: 1h}}")
    assert trial(afternoon, fusion) == [len(afternoon.trigs), 0, 1, 0]


def test_a_moment_that_lasts_longer_is_changed(afternoon, tmp_path):
    fusion = with_rules(tmp_path, "{label: smile, when: face.count >= 1, for: 250ms, cooldown: 1h}")
    assert trial(afternoon, fusion)[3] >= 1


def test_the_same_moment_twice_by_hand_is_two():
    trig = Trig(
        trig_id=make_trig_id("cam1", 3, "look", 0), stream="cam1", epoch=3, label="look", reason="", score=1.0,
        frame_id=0, t_start_ns=0, t_end_ns=0,
    )  # fmt: skip
    once = Decided(trig, encode(trig))
    difference = compare([once], [once, once])
    assert (len(difference.same), len(difference.added), difference.none) == (1, 1, False)


def test_a_record_that_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(RecordError, match="is no longer there"):
        replayed([tmp_path / "none.vprec"])


# The driver -----------------------------------------------------------------------------------------


class EveryFrame(BaseFusion):
    """Fires on each frame."""

    def update(self, frame):
        return FusionResult(triggers=(Trigger("seen", frame.t_ns, frame.t_ns, frame.frame_id),))


def seen(source, frame_id, **signals):
    return Observation(source=source, frame_id=frame_id, t_ns=frame_id * 50 * MS, signals=signals)


def of(kind, outcomes):
    return [each for each in outcomes if isinstance(each, kind)]


def test_observations_of_all_sources_become_a_set_at_once():
    driver = FusionProcess()
    driver.source_up("face", 0)
    driver.source_up("text", 0)
    assert of(Fused, driver.add(seen("face", 0, count=2.0), 10 * MS)) == []
    (fused,) = of(Fused, driver.add(seen("text", 0), 20 * MS))
    assert (fused.aligned.obs, fused.aligned.hold_ns) == (("face", "text"), 10 * MS)
    assert fused.aligned.payloads["face"].observations[0].signals == {"count": 2.0}


def test_a_source_that_is_down_is_waited_for_no_more():
    driver = FusionProcess()
    driver.source_up("face", 0)
    driver.source_up("text", 0)
    driver.add(seen("face", 0), 0)
    (fused,) = of(Fused, driver.source_down("text", 5))
    assert fused.missing == {"text": "down"}


def test_the_window_ends_the_wait_at_the_documents_time():
    driver = FusionProcess()
    driver.source_up("face", 0)
    driver.source_up("text", 0)
    driver.add(seen("face", 0), 0)
    assert driver.next_deadline() == ALIGNMENT_WINDOW_NS == 100 * MS
    assert driver.tick(100 * MS - 1) == []
    assert len(of(Fused, driver.tick(100 * MS))) == 1


def test_the_late_threshold_is_the_documents_multiplier():
    for threshold, late in ((1.0, 0), (1.5, 1)):
        driver = FusionProcess(100 * MS, threshold)
        driver.source_up("face", 0)
        for frame_id in range(4):
            driver.add(seen("face", frame_id), frame_id * 50 * MS)
        assert len(of(Late, driver.add(seen("text", 0, a=1.0), 200 * MS))) == late


def test_closing_lets_what_waits_leave_and_fire():
    driver = FusionProcess(fusion=EveryFrame(), stream="cam9")
    driver.source_up("face", 0)
    driver.source_up("text", 0)
    driver.add(seen("face", 0), 0)
    (trig,) = of(Trig, driver.close(10 * MS))
    assert (trig.stream, trig.label) == ("cam9", "seen")
    assert driver.next_deadline() is None


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="alignment_window_ns is 0"):
        FusionProcess(0)
