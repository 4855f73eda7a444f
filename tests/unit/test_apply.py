"""`vpctl apply`: what it would do, by what runs, what answers, and what visualpath.yaml says."""

import pytest

from visualpath.ctl.commands.apply import Plan, make_plan
from visualpath.ctl.supervision import Process
from visualpath.runtime.config import load_config
from visualpath.runtime.roles import fingerprint, roles

SECTIONS = """
streams:
  cam1: {{source: cam1.mp4}}
  {streams}
extractors:
  quality: {{config: {{size: {size}}}}}
  {extractors}
clip: {{post: {post}}}
log: {{level: {level}}}
"""


@pytest.fixture
def configured(write_config):
    """A configuration with something changed."""

    def make(streams="", size=1, extractors="", post="5s", level="info"):
        return load_config(write_config(SECTIONS.format(**locals())))

    return make


@pytest.fixture
def planned(configured):
    """The plan for a changed configuration, where all daemons of the first one run by it."""

    def plan(states=None, restart_all=False, **changed):
        before = configured()
        names = [role.daemon for role in roles(before)]
        processes = {name: Process("up", 7) for name in names} | {n: Process(s) for n, s in (states or {}).items()}
        statuses = {name: {"config": fingerprint(before, name)} for name in names if name not in (states or {})}
        return make_plan(configured(**changed), processes, statuses, restart_all)

    return plan


ALL = ["clip", "fusion", "extractor-quality", "frame-cam1"]


def test_nothing_changed_is_nothing_to_do(planned):
    assert planned() == Plan(start=[], stop=[], restart=[])


def test_what_did_not_change_is_restarted_if_asked_for(planned):
    assert planned(restart_all=True).restart == ALL


@pytest.mark.parametrize("state", ["stopped", "failing", "stopping"])
def test_what_does_not_run_is_started(planned, state):
    assert planned({"fusion": state}) == Plan(start=["fusion"], stop=[], restart=[])


def test_a_stream_that_came_is_started_and_all_who_must_know_it_are_restarted(planned):
    plan = planned(streams="cam2: {source: cam2.mp4}")
    assert plan == Plan(start=["frame-cam2"], stop=[], restart=["clip", "fusion", "extractor-quality"])


def test_an_extractor_that_came_leaves_all_but_fusion_alone(planned):
    plan = planned(extractors="face: {}")
    assert plan == Plan(start=["extractor-face"], stop=[], restart=["fusion"])


def test_a_frame_daemon_that_waits_for_its_subscribers_must_know_an_extractor_that_came(write_config):
    def of(extractors):
        streams = "streams: {cam1: {source: cam1.mp4, ready_timeout: 5s}}\n"
        return fingerprint(load_config(write_config(f"{streams}extractors: {extractors}\n")), "frame-cam1")

    assert of("{face: {}}") != of("{face: {}, pose: {}}")


def test_one_that_does_not_answer_may_work_by_anything_and_is_restarted(configured):
    config = configured()
    names = [role.daemon for role in roles(config)]
    statuses = {name: {"config": fingerprint(config, name)} for name in names} | {"clip": None}
    assert make_plan(config, {name: Process("up", 7) for name in names}, statuses).restart == ["clip"]


@pytest.mark.parametrize(
    ("daemon", "before", "after"),
    [
        ("fusion", "streams: {cam1: {source: a}}", "streams: {cam1: {source: a, pace: fast}}"),
        ("extractor-face", "fusion: {window: 100ms}", "fusion: {window: 200ms}"),
        ("clip", "venvs_dir: a", "venvs_dir: b"),
    ],
)
def test_what_a_daemon_goes_by_though_it_stands_elsewhere_restarts_it(write_config, daemon, before, after):
    others = {"streams": "{cam1: {source: a}}", "extractors": "{pose: {}, face: {depends: [pose]}}"}

    def of(line):
        sections = "".join(f"{name}: {text}\n" for name, text in others.items() if not line.startswith(name))
        return fingerprint(load_config(write_config(f"{line}\n{sections}")), daemon)

    assert of(before) != of(after)


def test_a_daemon_that_is_named_no_more_is_stopped(planned):
    assert planned({"extractor-gone": "up"}).stop == ["extractor-gone"]


def test_another_configuration_of_an_extractor_restarts_it_alone(planned):
    assert planned(size=2).restart == ["extractor-quality"]


def test_another_length_of_clips_restarts_the_clip_daemon_alone(planned):
    assert planned(post="6s").restart == ["clip"]


def test_what_concerns_all_restarts_all(planned):
    assert planned(level="debug").restart == ALL


def test_the_fingerprint_of_a_daemon_does_not_tell_a_password(write_config, monkeypatch):
    monkeypatch.setenv("VP_CAM1", "s3cret")
    path = write_config("streams: {cam1: {source: 'rtsp://u:${VP_CAM1}@camera/x'}}\n")
    assert len(fingerprint(load_config(path), "frame-cam1")) == 12


def test_another_password_of_a_camera_restarts_its_frame_daemon(write_config):
    path = write_config("streams: {cam1: {source: 'rtsp://u:${VP_CAM1}@camera/x'}}\n")
    first, second = (fingerprint(load_config(path, {"VP_CAM1": word}), "frame-cam1") for word in ("a", "b"))
    assert first != second
