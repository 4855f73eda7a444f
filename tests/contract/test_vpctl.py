"""vpctl as the operator meets it: what it prints, and its exit codes."""

import errno
import json
import os
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from visualpath.ctl.main import main

CONFIG = """
    state_dir: state
    ring: {dir: ring, length: 30s}
    clip: {dir: clips, pre: 400ms, post: 400ms, stall_timeout: 60s, format: mjpeg}
    streams:
      cam1: {source: none.mp4}
    extractors:
      face: {}
    fusion:
      rules: [{label: smile, when: face.smile > 0.5}]
"""
DAEMONS = ["clip", "fusion", "extractor-face", "frame-cam1"]


@pytest.fixture
def config(write_config):
    return write_config(CONFIG)


@pytest.fixture
def rules(short_dir):
    """A folder for PYTHONPATH in which the built-in fusion plug-in is installed."""
    info = short_dir / "plugins" / "rules-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rules\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[visualpath.fusions]\nrules = visualpath.core.rules:RulesFusion\n")
    return info.parent


@pytest.fixture
def running(start_daemon, config, fake_stream, rules, links):
    """Fusion and the clip daemon, and a camera that the test plays."""
    start_daemon("fusion", config, PYTHONPATH=str(rules))
    start_daemon("clip", config)
    camera = fake_stream("cam1")
    camera.await_subscribers(2, kind="s")
    return camera


def stderr_line(result):
    """The only line on stderr."""
    [line] = result.stderr.splitlines()
    return line


# Nothing runs -----------------------------------------------------------------------------------


def test_status_with_nothing_running_is_exit_4_and_says_what_to_do(vpctl):
    result = vpctl("status")
    assert (result.exit_code, stderr_line(result)) == (4, "vpctl: nothing runs; `vpctl up` (or `make up`) starts it")


def test_status_names_every_daemon_of_the_configuration(vpctl):
    rows = [line.split() for line in vpctl("status").stdout.splitlines()[1:]]
    assert [(row[0], row[-1]) for row in rows] == [(name, "down") for name in DAEMONS]


def test_status_as_json_says_what_is_down(vpctl):
    assert json.loads(vpctl("--json", "status").stdout) == {name: {"down": True, "told": []} for name in DAEMONS}


@pytest.mark.parametrize(
    ("args", "daemon"), [(["clips"], "clip"), (["trigger", "cam1"], "fusion"), (["--json", "clips"], "clip")]
)
def test_a_command_to_a_daemon_that_is_down_is_exit_4_and_one_line(vpctl, args, daemon):
    result = vpctl(*args)
    assert result.exit_code == 4
    assert stderr_line(result).startswith(f"vpctl: {daemon} does not answer; is it running? `vpctl status` shows")


def test_down_with_nothing_running_is_done(vpctl):
    result = vpctl("down")
    assert (result.exit_code, result.stdout) == (0, "nothing ran\n")


def test_down_as_json(vpctl):
    assert json.loads(vpctl("--json", "down").stdout) == {"down": True, "stopped": False}


def test_up_without_its_venvs_is_refused_and_says_what_to_do(vpctl):
    result = vpctl("up")
    assert result.exit_code == 1
    assert stderr_line(result) == "vpctl: clip needs the venv 'core', which is not built: run `make venvs`"


# The configuration ------------------------------------------------------------------------------


def test_a_good_configuration_is_valid(vpctl, config):
    result = vpctl("validate")
    assert (result.exit_code, result.stdout) == (0, f"{config} is valid: 4 daemons\n")


def test_validate_as_json_names_the_daemons(vpctl, config):
    answer = json.loads(vpctl("--json", "validate").stdout)
    assert answer == {"valid": True, "config": str(config), "daemons": DAEMONS}


@pytest.mark.parametrize("command", [["validate"], ["status"], ["clips"], ["trigger", "cam1"], ["up"], ["down"]])
def test_a_bad_configuration_is_exit_78_and_a_line_with_file_and_line(vpctl, write_config, command):
    path = write_config("\nstreams:\n  cam1: {source: a.mp4, paces: fast}\n")
    result = vpctl(*command, path=path)
    assert result.exit_code == 78
    assert stderr_line(result) == (f"vpctl: {path}:4: streams.cam1.paces: unknown key; did you mean 'pace'?")


def test_a_missing_configuration_is_exit_78(vpctl, short_dir):
    result = vpctl("validate", path=short_dir / "gone.yaml")
    assert result.exit_code == 78
    assert stderr_line(result).startswith(f"vpctl: {short_dir}/gone.yaml: no such file: name one, or copy")


@pytest.mark.parametrize("command", ["validate", "status", "clips"])
def test_a_run_dir_too_long_for_sockets_is_a_configuration_error(vpctl, config, command):
    config.write_text(config.read_text().replace("run_dir: run", f"run_dir: {'r' * 100}"))
    result = vpctl(command)
    assert result.exit_code == 78
    assert "choose a shorter run_dir" in stderr_line(result)


def test_the_configuration_may_be_named_by_the_environment(config):
    result = CliRunner().invoke(main, ["validate"], env={"VISUALPATH_CONFIG": str(config)})
    assert result.exit_code == 0


@pytest.mark.parametrize("args", [["trigger"], ["fly"], ["clips", "--limit", "0"], ["clips", "--limit", "many"]])
def test_wrong_usage_is_exit_2(vpctl, args):
    assert vpctl(*args).exit_code == 2


@pytest.mark.parametrize("command", ["up", "down", "status", "clips", "trigger", "validate"])
def test_help_names_every_command(vpctl, command):
    assert f"\n  {command} " in vpctl("--help").stdout


# Some daemons run -------------------------------------------------------------------------------


def test_status_with_some_daemons_down_is_exit_3(running, vpctl):
    result = vpctl("status")
    assert (result.exit_code, stderr_line(result)) == (3, "vpctl: 2 of 4 daemons are down")


def test_status_as_json_is_each_daemons_own_word(running, vpctl):
    statuses = json.loads(vpctl("--json", "status").stdout)
    assert {name: status.get("daemon") for name, status in statuses.items()} == {
        "clip": "clip", "fusion": "fusion", "extractor-face": None, "frame-cam1": None,
    }  # fmt: skip


def test_there_are_no_clips_at_first(running, vpctl):
    result = vpctl("clips")
    assert (result.exit_code, result.stdout) == (0, "no clips yet\n")


def test_a_trigger_on_an_unknown_stream_is_refused_and_names_the_known(running, vpctl):
    result = vpctl("trigger", "attic")
    assert (result.exit_code, stderr_line(result)) == (1, "vpctl: no stream 'attic'; there are cam1")


def test_a_trigger_before_the_first_frame_is_refused(running, vpctl):
    result = vpctl("trigger", "cam1")
    assert (result.exit_code, stderr_line(result)) == (1, "vpctl: stream cam1 has no frames yet")


@pytest.fixture
def triggered(running, vpctl, wait_for, counter, ask):
    """A clip made by hand: returns what vpctl said about the trigger, and a way to list the clips."""
    running.frames(0, 40)
    running.state("live", fps=25.0, last_frame_id=20, last_t_ns=20 * running.FRAME_NS)
    wait_for(lambda: counter("clip", "frames") == 41 and ask("fusion", "status")["streams"]["cam1"]["last_t_ns"])

    def trigger(*args):
        result = vpctl("--json", "trigger", "cam1", *args)
        assert result.exit_code == 0, result.stderr
        wait_for(lambda: counter("clip", "clips.saved"))
        return json.loads(result.stdout)

    return trigger


def test_a_trigger_by_hand_becomes_a_clip(triggered, vpctl):
    trig = triggered()
    [clip] = json.loads(vpctl("--json", "clips").stdout)["clips"]
    assert (clip["clip_id"], clip["state"], clip["sidecar"]["frames"]) == (trig["trig_id"], "saved", 21)


def test_a_trigger_by_hand_keeps_its_label_and_reason(triggered, vpctl):
    triggered("--label", "visitor", "--reason", "who is it")
    [trig] = json.loads(vpctl("--json", "clips").stdout)["triggers"]
    assert (trig["label"], trig["reason"]) == ("visitor", "who is it")


def test_a_label_that_is_no_name_is_refused(triggered, vpctl):
    result = vpctl("trigger", "cam1", "--label", "Two Words")
    assert result.exit_code == 1
    assert "'Two Words' is no valid name" in stderr_line(result)


def test_a_long_reason_still_reaches_the_clip_daemon(triggered):
    triggered("--reason", "x" * 3000)


def test_clips_show_file_and_length_to_people(triggered, vpctl, short_dir):
    trig = triggered()
    [header, row] = vpctl("clips").stdout.splitlines()
    assert header.split() == [
        "clip",
        "stream",
        "label",
        "state",
        "triggers",
        "frames",
        "seconds",
        "gaps",
        "file",
        "or",
        "reason",
    ]
    assert row.split()[:8] == [trig["trig_id"], "cam1", "manual", "saved", "1", "21", "0.84", "-"]
    assert (short_dir / "clips" / row.split()[8]).is_file()


# clips ------------------------------------------------------------------------------------------


def test_a_clip_is_shown_by_the_beginning_of_its_id(triggered, vpctl):
    trig = triggered("--reason", "who is it")
    shown = vpctl("clips", "show", trig["trig_id"][:6]).stdout
    assert f"{trig['trig_id']} manual" in shown
    assert "who is it" in shown


def test_a_clip_that_is_as_it_was_saved_is_verified(triggered, vpctl):
    triggered()
    assert vpctl("clips", "verify").exit_code == 0


def test_a_clip_that_was_changed_is_found(triggered, vpctl, short_dir):
    trig = triggered()
    [path] = (short_dir / "clips").glob("*/*.mp4")
    path.write_bytes(path.read_bytes()[:-1])
    result = vpctl("clips", "verify", trig["trig_id"])
    assert result.exit_code == 1
    assert "not the one that was saved" in result.stdout


def test_a_clip_is_exported_with_all_that_belongs_to_it(triggered, vpctl, tmp_path):
    trig = triggered()
    assert vpctl("clips", "export", trig["trig_id"], str(tmp_path / "out")).exit_code == 0
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".jpg", ".json", ".mp4"]


def test_a_sidecar_that_was_changed_is_found_by_the_ledger(triggered, vpctl, short_dir):
    triggered("--reason", "who is it")
    [path] = (short_dir / "clips").glob("*/*.json")
    path.write_text(path.read_text().replace("who is it", "nobody"))
    result = vpctl("clips", "verify")
    assert result.exit_code == 1
    assert "its sidecar is not the one that was saved" in result.stdout


def test_an_export_replaces_what_an_earlier_one_left(triggered, vpctl, tmp_path):
    trig = triggered()
    for _ in range(2):
        assert vpctl("clips", "export", trig["trig_id"], str(tmp_path)).exit_code == 0
    assert len(list(tmp_path.iterdir())) == 3


def test_an_export_onto_the_clip_itself_is_refused(triggered, vpctl, short_dir):
    trig = triggered()
    [path] = (short_dir / "clips").glob("*/*.mp4")
    result = vpctl("clips", "export", trig["trig_id"], str(path.parent))
    assert (result.exit_code, stderr_line(result)) == (1, f"vpctl: {path.parent}: the clip lies there already")


def test_an_export_to_where_nothing_can_be_written_names_that_file(triggered, vpctl, tmp_path, monkeypatch):
    trig = triggered()

    def full(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source), None, str(target))

    monkeypatch.setattr("shutil.copy2", full)
    result = vpctl("clips", "export", trig["trig_id"], str(tmp_path))
    assert result.exit_code == 1
    assert stderr_line(result).startswith(f"vpctl: {tmp_path}/")


@pytest.fixture
def deleted(triggered, vpctl, short_dir):
    """The id of a clip that the ledger calls deleted."""
    trig = triggered()
    with closing(sqlite3.connect(short_dir / "state/clip/ledger.db")) as database, database:
        database.execute("UPDATE clips SET state = 'deleted', why = 'quota'")
    return trig["trig_id"]


@pytest.mark.parametrize("args", [("verify",), ("export", "out")])
def test_a_clip_that_was_deleted_is_refused_with_the_reason(deleted, vpctl, args):
    result = vpctl("clips", args[0], deleted, *args[1:])
    assert (result.exit_code, stderr_line(result)) == (1, f"vpctl: clip {deleted} is not on disk: deleted quota")


def test_a_clip_that_was_deleted_is_still_shown_without_a_file(deleted, vpctl):
    shown = vpctl("clips", "show", deleted).stdout
    assert "deleted: quota" in shown
    assert ".mp4" not in shown


def test_verify_has_nothing_against_a_clip_that_was_deleted(deleted, vpctl):
    assert vpctl("clips", "verify").exit_code == 0


def test_a_clip_that_is_deleted_while_it_is_verified_is_no_fault(triggered, vpctl, short_dir, monkeypatch):
    triggered()

    def deleted_meanwhile(path, known):
        with closing(sqlite3.connect(short_dir / "state/clip/ledger.db")) as database, database:
            database.execute("UPDATE clips SET state = 'deleted', why = 'quota'")
        return ["it cannot be read"]

    monkeypatch.setattr("visualpath.ctl.commands.clips.verify_clip", deleted_meanwhile)
    result = vpctl("--json", "clips", "verify")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"clips": 0, "wrong": {}})


def test_an_id_that_several_clips_begin_with_is_refused_and_names_them(triggered, vpctl, short_dir):
    triggered()
    with closing(sqlite3.connect(short_dir / "state/clip/ledger.db")) as database, database:
        database.execute("UPDATE clips SET clip_id = 'ab1'")
        database.execute(
            "INSERT INTO clips (clip_id, stream, epoch, label, start_ns, end_ns) VALUES ('ab2', 'cam1', 1, 'a', 0, 1)"
        )
    result = vpctl("clips", "show", "ab")
    assert (result.exit_code, stderr_line(result)) == (1, "vpctl: 'ab' may be any of 2 clips: ab1, ab2")


@pytest.mark.parametrize("args", [("show", "0123"), ("verify", "0123"), ("export", "0123", "out")])
def test_a_clip_that_is_not_there_is_refused(running, vpctl, args):
    result = vpctl("clips", *args)
    assert (result.exit_code, stderr_line(result)) == (1, "vpctl: no clip '0123'; `vpctl clips` lists them")
