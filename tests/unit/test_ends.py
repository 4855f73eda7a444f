"""How daemons ended lately, from supervisord's log."""

from datetime import datetime, timedelta

import pytest
from click.testing import CliRunner

from visualpath.ctl.ends import LATELY, recent_ends
from visualpath.ctl.main import main


@pytest.fixture
def ends(tmp_path):
    """What is found in a log of (minutes ago, message)."""

    def read(*lines, since=None):
        now = datetime.now()
        told = [f"{now - timedelta(minutes=ago):%Y-%m-%d %H:%M:%S},123 WARN {message}\n" for ago, message in lines]
        (tmp_path / "supervisord.log").write_text("".join(told))
        return recent_ends(tmp_path, since)

    return read


CRASHED = "exited: extractor-face (terminated by SIGSEGV; not expected)"
REFUSED = "exited: extractor-face (exit status 78; not expected)"


def test_the_ends_of_a_daemon_are_counted(ends):
    assert ends((3, CRASHED), (2, CRASHED), (1, REFUSED))["extractor-face"].count == 3


@pytest.mark.parametrize(
    ("line", "how"),
    [
        (CRASHED, "terminated by SIGSEGV"),
        (
            "exited: extractor-face (terminated by SIGBUS (core dumped); not expected)",
            "terminated by SIGBUS (core dumped)",
        ),
        ("exited: extractor-face (exit status 0; expected)", "exit status 0"),
    ],
)
def test_how_it_ended_last_is_told(ends, line, how):
    assert ends((2, REFUSED), (1, line))["extractor-face"].last == how


def test_an_end_that_was_asked_for_is_none(ends):
    assert ends((1, "stopped: extractor-face (exit status 0)")) == {}


def test_what_was_before_a_stop_is_over(ends):
    assert ends((2, CRASHED), (1, "stopped: extractor-face (terminated by SIGTERM)")) == {}


def test_what_is_long_ago_does_not_count(ends):
    minutes = LATELY.total_seconds() / 60
    assert ends((minutes + 1, CRASHED), (minutes - 1, CRASHED))["extractor-face"].count == 1


def test_what_was_written_before_the_clock_was_put_back_does_not_count(ends):
    assert ends((-1440, CRASHED), (1, CRASHED))["extractor-face"].count == 1


def test_ends_before_a_given_time_do_not_count(ends):
    since = datetime.now() - timedelta(minutes=2)
    assert ends((3, CRASHED), (1, CRASHED), since=since)["extractor-face"].count == 1


def test_each_daemon_counts_for_itself(ends):
    assert set(ends((1, CRASHED), (1, "exited: fusion (exit status 1; not expected)"))) == {"extractor-face", "fusion"}


def test_other_lines_are_passed_over(ends):
    assert ends((1, "spawned: 'extractor-face' with pid 7"), (1, "received SIGTERM"), (1, "\u200b\x00 exited:")) == {}


def test_where_no_supervisord_ever_ran_there_are_none(tmp_path):
    assert recent_ends(tmp_path / "none") == {}


def test_status_tells_of_a_daemon_that_ended_by_itself(write_config):
    path = write_config("state_dir: state\nstreams: {cam1: {source: cam1.mp4}}\nextractors: {face: {}}\n")
    log = path.parent / "state" / "supervisor" / "supervisord.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"{datetime.now():%Y-%m-%d %H:%M:%S},000 WARN {CRASHED}\n")
    output = CliRunner().invoke(main, ["--config", str(path), "status"]).output
    [line] = [line for line in output.splitlines() if line.startswith("extractor-face ")]
    assert "down; ended by itself once in 10 min, last at " in line
