"""Traces of real daemons: the level, the files, the documents' jq programs, `vpctl trace`."""

import json
import shutil
import subprocess

import pytest

from visualpath.core.errors import CommandError

CONFIG = """
    state_dir: state
    ring: {{dir: ring, length: 30s}}
    streams:
      cam1: {{source: none.mp4}}
    extractors:
      face: {{plugin: scripted, config: {{mean_ms: 2, signals: {{count: 1}}}}}}
    fusion:
      rules: [{{label: smile, when: face.count > 0.5}}]
    trace: {{level: {level}, dir: traces}}
"""
BY_COMPONENT = """
    [.[] | select(.record_type=="timing")]
    | group_by(.component)
    | map({
        component: .[0].component,
        avg_ms: ([.[].processing_ms] | add / length),
        max_ms: ([.[].processing_ms] | max)
      })"""
SYNC_DELAYS = 'select(.record_type=="sync_delay")'
SLOW = 'select(.record_type=="timing") | select(.processing_ms > 50)'
DROPS = 'select(.record_type=="frame_drop") | {reason, count: (.dropped_frame_ids | length)}'
"""The four programs of the documents, as they stand there."""


@pytest.fixture
def config(write_config):
    return write_config(CONFIG.format(level="off"))


@pytest.fixture
def extractor(start_daemon, write_config, fake_stream, wait_for, counter):
    """A real extractor and a real fusion daemon that trace at a level; returns the camera."""

    def start(level):
        path = write_config(CONFIG.format(level=level))
        camera = fake_stream("cam1")
        start_daemon("fusion", path)
        start.daemon = start_daemon("extractor", path, "face")
        camera.await_subscribers(kind="h")
        return camera

    return start


@pytest.fixture
def trace(short_dir):
    """The records that the extractor has written so far."""

    def read():
        path = short_dir / "traces" / "extractor-face.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


@pytest.fixture
def look(counter, wait_for):
    """Show the camera's frames one by one, each when the one before is done."""

    def look(camera, first, last):
        for number in range(first, last + 1):
            done = counter("extractor-face", "sent.obs")
            camera.frames(number, number)
            wait_for(lambda done=done: counter("extractor-face", "sent.obs") > done)

    return look


# What a daemon writes ----------------------------------------------------------------------------------


def test_every_frame_that_was_looked_at_has_a_timing(extractor, trace, look, wait_for):
    look(extractor("verbose"), 0, 2)
    timings = wait_for(lambda: len(trace()) >= 3 and [r for r in trace() if r["record_type"] == "timing"])
    assert [(r["frame_id"], r["component"], r["daemon"], r["stream"]) for r in timings] == [
        (n, "face", "extractor-face", "cam1") for n in range(3)
    ]
    assert all(r["processing_ms"] > r["decode_ms"] > 0 for r in timings)


def test_frames_that_never_came_are_dropped_with_their_ids_and_the_reason(extractor, trace, look, wait_for):
    camera = extractor("normal")
    look(camera, 0, 0)
    look(camera, 4, 4)
    (drop,) = wait_for(trace)
    kept = {key: drop[key] for key in ("record_type", "dropped_frame_ids", "reason", "component")}
    assert kept == {"record_type": "frame_drop", "dropped_frame_ids": [1, 2, 3], "reason": "gap", "component": "face"}


def test_off_makes_no_file(extractor, short_dir, look):
    camera = extractor("off")
    look(camera, 0, 0)
    look(camera, 4, 4)
    assert extractor.daemon.stop() == 0
    assert not (short_dir / "traces" / "extractor-face.jsonl").exists()


def test_an_orderly_end_loses_nothing(extractor, trace, look):
    look(extractor("verbose"), 0, 1)
    assert extractor.daemon.stop() == 0
    assert [record["frame_id"] for record in trace()] == [0, 1]


def test_a_full_disk_stops_nothing_and_is_counted(extractor, short_dir, look, counter, wait_for):
    (short_dir / "traces").mkdir()
    (short_dir / "traces" / "extractor-face.jsonl").symlink_to("/dev/full")
    look(extractor("verbose"), 0, 1)
    wait_for(lambda: counter("extractor-face", "failed.trace") > 0)
    assert extractor.daemon.alive()


# The level ---------------------------------------------------------------------------------------------


def test_the_level_is_switched_while_the_daemon_runs(extractor, trace, look, ask, wait_for):
    camera = extractor("off")
    look(camera, 0, 0)
    assert ask("extractor-face", "trace", {"level": "verbose"})["level"] == "verbose"
    look(camera, 1, 1)
    wait_for(trace)
    ask("extractor-face", "trace", {"level": "off"})
    look(camera, 2, 2)
    assert extractor.daemon.stop() == 0
    assert [record["frame_id"] for record in trace()] == [1]


def test_asking_alone_changes_nothing(extractor, ask):
    extractor("minimal")
    assert [ask("extractor-face", "trace")["level"] for _ in range(2)] == ["minimal", "minimal"]


@pytest.mark.parametrize("level", ["loud", None, ["normal"], {}, 1])
def test_an_unknown_level_is_refused_and_the_present_one_stays(extractor, ask, level):
    extractor("normal")
    with pytest.raises(CommandError, match="there are off, minimal, normal, verbose"):
        ask("extractor-face", "trace", {"level": level})
    assert ask("extractor-face", "status")["trace"]["level"] == "normal"


def test_status_says_level_file_and_how_much_was_written(extractor, look, ask, short_dir, wait_for):
    look(extractor("verbose"), 0, 1)
    wait_for(lambda: ask("extractor-face", "status")["trace"]["written"] == 2)
    shown = ask("extractor-face", "status")["trace"]
    assert shown == {
        "level": "verbose", "file": str(short_dir / "traces" / "extractor-face.jsonl"), "written": 2,
    }  # fmt: skip


# The documents' jq programs ----------------------------------------------------------------------------


@pytest.fixture
def jq(short_dir):
    """Run a jq program over the extractor's trace, as the documents do; returns what it prints."""
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")

    def run(program, *options):
        with (short_dir / "traces" / "extractor-face.jsonl").open() as trace:
            command = ["jq", "-c", *options, program]
            done = subprocess.run(command, stdin=trace, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def traced(extractor, look, trace):
    """A trace with two timings and three frames dropped."""
    camera = extractor("verbose")
    look(camera, 0, 0)
    look(camera, 4, 4)
    assert extractor.daemon.stop() == 0
    return trace()


def test_jq_names_the_slowest_component(traced, jq):
    times = [record["processing_ms"] for record in traced if record["record_type"] == "timing"]
    ((face,),) = jq(BY_COMPONENT, "-s")
    assert face == {"component": "face", "avg_ms": pytest.approx(sum(times) / 2), "max_ms": max(times)}


def test_jq_finds_frames_that_were_delayed(traced, jq, short_dir):
    delay = {"record_type": "sync_delay", "frame_id": 7, "delay_ms": 45.0, "waiting_for": ["face"]}
    with (short_dir / "traces" / "extractor-face.jsonl").open("a") as file:
        file.write(json.dumps(delay) + "\n")  # fusion writes these
    assert jq(SYNC_DELAYS) == [delay]


def test_jq_finds_slow_frames(traced, jq):
    slow = [record for record in traced if record.get("processing_ms", 0) > 50]
    assert jq(SLOW) == slow


def test_jq_counts_dropped_frames_by_reason(traced, jq):
    assert jq(DROPS) == [{"reason": "gap", "count": 3}]


def test_the_keys_that_these_programs_need_are_there(traced):
    needed = {"timing": {"component", "processing_ms"}, "frame_drop": {"reason", "dropped_frame_ids"}}
    assert [needed[record["record_type"]] - set(record) for record in traced] == [set()] * 3


# vpctl trace -------------------------------------------------------------------------------------------


def test_vpctl_sets_the_level_of_one_daemon_alone(extractor, vpctl, ask):
    extractor("off")
    vpctl("trace", "level", "normal", "--daemon", "extractor-face")
    assert [ask(name, "trace")["level"] for name in ("extractor-face", "fusion")] == ["normal", "off"]


def test_vpctl_shows_the_level_of_all_and_who_is_down(extractor, vpctl):
    extractor("minimal")
    result = vpctl("trace", "level")
    levels = {line.split()[0]: line.split()[1] for line in result.stdout.splitlines()[1:]}
    assert levels == {"clip": "down", "fusion": "minimal", "extractor-face": "minimal", "frame-cam1": "down"}
    assert result.exit_code == 3


def test_vpctl_refuses_an_unknown_level(vpctl):
    assert vpctl("trace", "level", "loud").exit_code == 2


def test_vpctl_tail_shows_a_line_for_each_record(traced, vpctl):
    result = vpctl("trace", "tail", "--daemon", "extractor-face")
    kinds = [line.split()[2] for line in result.stdout.splitlines()]
    assert (result.exit_code, kinds) == (0, ["timing", "frame_drop", "timing"])


def test_vpctl_tail_shows_the_kinds_asked_for_as_they_are_written(traced, vpctl):
    result = vpctl("--json", "trace", "tail", "--type", "frame_drop", "--daemon", "extractor-face")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [traced[1]]


def test_vpctl_tail_shows_the_last_of_all(traced, vpctl):
    result = vpctl("--json", "trace", "tail", "-n", "1", "--daemon", "extractor-face")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [traced[-1]]


@pytest.mark.parametrize("command", ["tail", "summary"])
def test_without_a_trace_vpctl_says_how_to_begin_one(vpctl, command):
    result = vpctl("trace", command)
    assert result.exit_code == 1
    assert "`vpctl trace level normal` begins" in result.stderr


def test_vpctl_summary_has_times_and_drops(traced, vpctl, short_dir):
    result = vpctl("--json", "trace", "summary", str(short_dir / "traces" / "extractor-face.jsonl"))
    facts = json.loads(result.stdout)
    assert (facts["timings"]["face"]["count"], facts["drops"]["face"]) == (2, {"gap": 3})


def test_vpctl_summary_of_a_file_is_about_it_alone(traced, vpctl, short_dir):
    other = short_dir / "other.jsonl"
    other.write_text(json.dumps(traced[0]) + "\nbroken\n")
    result = vpctl("trace", "summary", str(other))
    assert result.stdout.splitlines()[0].startswith("1 records from ")
    assert result.stdout.splitlines()[0].endswith("; 1 lines cannot be read")
