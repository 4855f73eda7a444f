"""A real fusion daemon records, is killed, and `vpctl` answers from the record."""

import json
import re

import msgspec
import pytest
from around_fusion import CONFIG, EPOCH, World

from visualpath.core.errors import RecordError
from visualpath.process.record import RecordReader, files_at, pack
from visualpath.process.replay import Replay
from visualpath.runtime.config import load_config
from visualpath_protocol.codec import encode
from visualpath_protocol.messages import Obs, Ping, Trig


@pytest.fixture
def config(write_config):
    return write_config(CONFIG)


@pytest.fixture
def begin(links, start_daemon, ask, wait_for):
    """Start a fusion daemon and what is around it, live in its epoch; returns both."""

    def begin(config):
        daemon, world = start_daemon("fusion", config), World(links)
        for source in ("face", "text"):
            ping = Ping(source=source, instance="i1", streams=["cam1"], state="ready")
            ask("fusion", "register", msgspec.to_builtins(ping), timeout_ms=10_000)
        world.say_state(fps=20.0)
        wait_for(lambda: ask("fusion", "status")["streams"]["cam1"]["epoch"] == EPOCH)
        return daemon, world

    return begin


def play(world, frames):
    for n in frames:
        for source in ("face", "text"):
            world.obs(source, n, float(n >= 2))


def recorded(folder, kind):
    """The messages of a kind that are on the disk."""
    try:
        said = list(RecordReader(files_at(folder)))
    except RecordError:
        return []
    return [each.body for each in said if isinstance(getattr(each, "message", None), kind)]


@pytest.fixture
def folder(config):
    return load_config(config).record_dir


@pytest.fixture
def killed(begin, config, folder, wait_for):
    """The bytes of the TRIG that was sent by a daemon that was killed a little later, in the midst of frames."""
    daemon, world = begin(config)
    play(world, range(12))
    sent = world.sent()
    wait_for(lambda: recorded(folder, Trig), timeout_s=2)
    play(world, range(12, 20))
    daemon.kill()
    return sent


def test_after_a_kill_the_record_replays_to_the_bytes_that_were_sent(killed, folder):
    replay = Replay(files_at(folder))
    list(replay.steps())
    assert [each.body for each in replay.decided] == [killed]


def test_everything_is_on_the_disk_after_two_tenths_of_a_second(begin, ask, config, folder, wait_for):
    _, world = begin(config)
    play(world, range(4))
    wait_for(lambda: ask("fusion", "status")["counters"].get("sets", 0) == 4)
    wait_for(lambda: len(recorded(folder, Obs)) == 8, timeout_s=1)


def test_vpctl_replay_says_that_the_bytes_are_the_same(killed, vpctl):
    result = vpctl("replay")
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "1 trigger, byte-identical to the record"
    assert re.search(r"same .* cam1/5 +smile +0\.100s +0\.300s", result.output)


def test_the_speed_changes_nothing(killed, vpctl):
    at_speed = vpctl("--json", "replay", "--speed", "20")
    assert "TRIG" in at_speed.stderr
    assert at_speed.stdout == vpctl("--json", "replay").stdout


def test_the_trigs_can_be_had_as_json_lines(killed, vpctl, tmp_path):
    assert vpctl("replay", "--out", str(tmp_path / "trigs.jsonl")).exit_code == 0
    (line,) = (tmp_path / "trigs.jsonl").read_text().splitlines()
    assert json.loads(line)["label"] == "smile"


def test_another_configuration_is_tried_and_the_difference_shown(killed, vpctl, write_config, config):
    other = config.with_name("other.yaml")
    other.write_text(config.read_text().replace("face.count >= 1", "face.count >= 2"))
    result = vpctl("replay", "--config", str(other))
    assert result.exit_code == 0
    assert re.search(r"^gone .* smile ", result.output, re.MULTILINE)
    assert result.output.splitlines()[-1].endswith("against the record: 1 gone")
    assert json.loads(vpctl("--json", "replay", "--config", str(other)).output)["gone"][0]["label"] == "smile"


def test_a_record_that_replays_otherwise_ends_with_1(killed, vpctl, folder):
    (path,) = files_at(folder)
    head, *entries = RecordReader([path])
    body = encode(head).replace(b"face.count >= 1", b"face.count >= 9")
    path.write_bytes(pack(0, 0, body) + b"".join(pack(each.now_ns, 0, each.body) for each in entries))
    result = vpctl("replay")
    assert result.exit_code == 1
    assert "0 triggers; differs: 1 gone" in result.output


def test_of_a_damaged_record_nothing_is_said_to_be_the_same(killed, vpctl, folder):
    (path,) = files_at(folder)
    content = bytearray(path.read_bytes())
    content[content.index(b"OBS")] ^= 1
    path.write_bytes(content)
    result = vpctl("replay")
    assert result.exit_code == 1
    assert "0 triggers, byte-identical to the record, of what could be read" in result.output
    assert json.loads(vpctl("--json", "replay").stdout)["whole"] is False


def test_a_record_whose_rules_are_of_another_grammar_is_refused(killed, vpctl, folder):
    (path,) = files_at(folder)
    head = next(iter(RecordReader([path])))
    path.write_bytes(pack(0, 0, encode(head).replace(b"face.count >= 1", b"face.count => 1")))
    result = vpctl("replay")
    assert (result.exit_code, "face.count => 1" in result.stderr) == (1, True)


@pytest.mark.parametrize(("option", "code"), [("--speed=0", 2), ("--speed=fast", 2), ("--config=none.yaml", 78)])
def test_what_cannot_be_done_is_refused(config, vpctl, option, code):
    assert vpctl("replay", option).exit_code == code


def test_without_a_record_there_is_nothing_to_replay(config, vpctl):
    result = vpctl("replay")
    assert result.exit_code == 1
    assert "no record there" in result.stderr


def test_a_daemon_that_is_told_not_to_records_nothing(begin, write_config):
    config = write_config(CONFIG + "record: {enabled: false}\n")
    _, world = begin(config)
    play(world, range(12))
    assert world.sent() is not None
    assert not load_config(config).record_dir.exists()


# Explain and record ---------------------------------------------------------------------------------


def test_explain_says_yes_with_the_trigger(killed, vpctl):
    result = vpctl("explain", "--stream", "cam1", "--at", "0.2s")
    assert result.exit_code == 0
    assert re.search(
        r"^rule smile: yes: TRIG [0-9a-f]{16} smile cam1/5 0\.100s\.\.0\.300s", result.output, re.MULTILINE
    )
    assert re.search(r"^face +reported +count=1 *$", result.output, re.MULTILINE)


def test_explain_says_why_not(killed, vpctl):
    result = vpctl("explain", "--stream", "cam1", "--at", "0.05")
    expected = "rule smile: no: face.count was 0 (needs >= 1) on frame #1; text.count was 0 (needs >= 1) on frame #1"
    assert expected in result.output.splitlines()
    assert "triggers near that moment:" in result.output


def test_explain_answers_programs_too(killed, vpctl):
    answer = json.loads(vpctl("--json", "explain", "--stream", "cam1", "--at", "0.05", "--rule", "smile").output)
    assert (answer["epoch"], answer["frame_id"], answer["left"]) == (EPOCH, 1, "complete")
    assert [reading["value"] for reading in answer["rules"][0]["state"]["readings"]] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--stream", "cam1", "--at", "99s"], "99.000s is after the end"),
        (["--stream", "cam9", "--at", "1s"], "no stream 'cam9' in the record"),
        (["--stream", "cam1", "--at", "0.1s", "--rule", "frown"], "no rule 'frown'; there are smile"),
        (["--stream", "cam1", "--at", "0.1s", "--record", "none"], "none: no record there"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_what_there_is(killed, vpctl, args, message):
    result = vpctl("explain", *args)
    assert result.exit_code == 1
    assert message in result.stderr


def test_record_shows_what_is_kept(killed, vpctl):
    result = vpctl("record")
    assert re.search(r"^cam1 +\d+ +\d+ +1 +5: 0\.000s to 0\.[5-9]", result.output, re.MULTILINE)
    facts = json.loads(vpctl("--json", "record").output)
    assert (facts["files"], facts["missing"], facts["streams"]["cam1"]["triggers"]) == (1, 0, 1)


def test_a_saved_record_replays_as_the_folder_does(killed, vpctl, tmp_path):
    saved = tmp_path / "saved.vprec"
    assert vpctl("record", "save", str(saved), "--last", "10m").exit_code == 0
    assert vpctl("replay", str(saved)).output == vpctl("replay").output
    assert vpctl("record", "--record", str(saved)).exit_code == 0
    again = vpctl("record", "save", str(saved))
    assert (again.exit_code, "is there already" in again.stderr) == (1, True)


@pytest.mark.parametrize("args", [["record"], ["record", "save", "x.vprec"]])
def test_without_a_record_there_is_nothing_to_show(config, vpctl, args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = vpctl(*args)
    assert result.exit_code == 1
    assert "no record there" in result.stderr
    assert list(tmp_path.glob("*.vprec")) == []
