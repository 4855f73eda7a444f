"""What all vpctl commands share, where it does not need a daemon."""

import io
import sys
from pathlib import Path

import pytest

from visualpath.ctl.console import Vpctl
from visualpath.ctl.sync_screen import MARKS


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", "+ x . o ## .. - ?"), ("latin-1", "+ x · o ## .. - ?"), ("utf-8", None)]
)
def test_what_the_terminal_cannot_show_is_shown_by_something_like_it(monkeypatch, encoding, shown):
    text = "✓ ✗ · ○ ██ ░░ \N{EN DASH} 顔"
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    Vpctl(Path("visualpath.yaml"), as_json=False).console.print(text)
    sys.stdout.flush()
    assert written.getvalue().decode(encoding) == f"{shown or text}\n"


def test_each_mark_of_top_has_a_lookalike_of_its_own_in_ascii():
    shown = {mark.encode("ascii", "look_alike") for mark in MARKS.values()}
    assert len(shown) == len(set(MARKS.values()))
    assert b"?" not in shown
