"""`make fuzz` fails where something was found, and where nothing was tried."""

import sys

import pytest
import show_fuzz
from reports import Report


def test_a_run_without_defects_succeeds():
    assert show_fuzz._show([Report("config", executions=1)], seed=1) == 0


def test_a_target_that_was_not_executed_once_fails_the_run(capsys):
    assert show_fuzz._show([Report("config", executions=1), Report("record")], seed=1) == 1
    assert "record: not executed once" in capsys.readouterr().out


def test_a_defect_fails_the_run():
    assert show_fuzz._show([Report("config", executions=1, defects={"here": "what"})], seed=1) == 1


def test_a_name_that_no_target_has_is_wrong_usage(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["show_fuzz.py", "--only", "nonsense"])
    with pytest.raises(SystemExit) as caught:
        show_fuzz.main()
    assert caught.value.code == 2
