"""Log lines on stderr."""

import json
import logging
import re
import subprocess
import sys

import pytest

from visualpath.runtime.logs import setup_logs

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def stderr(monkeypatch, capsys):
    """Read what has come on stderr; the process's logging is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    monkeypatch.setattr(logging, "raiseExceptions", True)
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_text_line_says_time_level_daemon_and_message(stderr):
    setup_logs("fusion", "info", "text")
    logging.getLogger("any.where").warning("%d lost", 3)
    assert re.fullmatch(TIME + r" WARNING fusion: 3 lost\n", stderr())


def test_a_json_line_is_one_object_with_the_same_parts(stderr):
    setup_logs("frame-cam1", "info", "json")
    logging.info('two\nlines and "quotes" ä')
    line = stderr()
    parts = json.loads(line)
    assert line.count("\n") == 1
    assert re.fullmatch(TIME, parts.pop("time"))
    assert parts == {"level": "INFO", "daemon": "frame-cam1", "message": 'two\nlines and "quotes" ä'}


@pytest.mark.parametrize("said", ["a\nb", "a\rb", "a\x1b[2Jb", "a\u2028b", "a\x85b"])
def test_a_text_line_holds_nothing_that_ends_it_or_commands_a_terminal(stderr, said):
    setup_logs("fusion", "info", "text")
    logging.info(said)
    assert stderr().rstrip("\n").isprintable()


@pytest.mark.parametrize("style", ["text", "json"])
def test_what_is_to_be_kept_out_is_kept_out_of_tracebacks_too(stderr, style):
    setup_logs("fusion", "info", style, lambda text: text.replace('hun"ter2', "HIDDEN"))
    try:
        raise ValueError('rtsp://admin:hun"ter2@camera')
    except ValueError:
        logging.critical('hun"ter2', exc_info=True)
    said = stderr()
    assert "hun" not in said
    assert said.count("HIDDEN") == 3  # the message, the line of the code, the error


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_traceback_comes_with_its_message(stderr, style):
    setup_logs("fusion", "info", style)
    try:
        raise ZeroDivisionError("why")
    except ZeroDivisionError:
        logging.critical("stopped", exc_info=True)
    assert re.search("stopped.*ZeroDivisionError: why", stderr(), re.DOTALL)


@pytest.mark.parametrize(("level", "kept"), [("debug", "diwe"), ("info", "iwe"), ("warning", "we"), ("error", "e")])
def test_the_level_decides_what_is_kept(stderr, level, kept):
    setup_logs("fusion", level, "text")
    for name in ("debug", "info", "warning", "error"):
        getattr(logging, name)(name[0])
    assert "".join(line[-1] for line in stderr().splitlines()) == kept


def test_setting_up_again_does_not_double_lines(stderr):
    setup_logs("fusion", "info", "text")
    setup_logs("fusion", "info", "text")
    logging.info("once")
    assert stderr().count("once") == 1


BROKEN = """
import logging, os
from visualpath.runtime.logs import setup_logs
setup_logs("fusion", "info", "text")
read, write = os.pipe()
os.dup2(write, 2)
os.close(write), os.close(read)
for _ in range(3):
    logging.error("nobody reads this")
print("alive", flush=True)
os._exit(0)
"""


def test_a_broken_stderr_stops_nobody():
    run = subprocess.run([sys.executable, "-c", BROKEN], stdout=subprocess.PIPE, text=True, timeout=20, check=False)
    assert (run.stdout, run.returncode) == ("alive\n", 0)


JOURNALED = """
import logging, os, sys
from visualpath.runtime.logs import setup_logs, tell_refusal
file = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{file.st_dev}:{file.st_ino if sys.argv[1] == 'journal' else 0}"
setup_logs("fusion", "debug", sys.argv[2])
for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
    logging.log(level, "said")
try:
    1 / 0
except ZeroDivisionError:
    logging.critical("stopped", exc_info=True)
tell_refusal("refused")
"""


def journaled(where, style):
    """What a process wrote whose stderr goes there."""
    run = [sys.executable, "-c", JOURNALED, where, style]
    return subprocess.run(run, stderr=subprocess.PIPE, text=True, timeout=20, check=True).stderr.splitlines()


@pytest.mark.parametrize("style", ["text", "json"])
def test_lines_for_the_journal_begin_with_their_priority(style):
    said = [line for line in journaled("journal", style) if "said" in line or "refused" in line]
    assert [line[:3] for line in said] == ["<7>", "<6>", "<4>", "<3>", "<3>"]


def test_a_json_line_for_the_journal_is_json_after_its_priority():
    assert json.loads(journaled("journal", "json")[0][3:])["message"] == "said"


def test_every_line_of_a_traceback_has_its_priority():
    lines = journaled("journal", "text")
    traceback = lines[next(i for i, line in enumerate(lines) if "stopped" in line) : -1]
    assert len(traceback) > 2
    assert {line[:3] for line in traceback} == {"<2>"}


def test_lines_that_go_elsewhere_have_no_priority():
    assert not any(line.startswith("<") for line in journaled("file", "text"))
