"""The line about a daemon: what it says of an extractor's backends."""

import pytest

from visualpath.process.backend_state import Shown
from visualpath.runtime.summary import summary

NOON_NS = 1_769_860_980_000_000_000  # 2026-01-31T12:03


def line(registered=True, **shown):
    """Of an extractor that has looked at 7 frames."""
    backend = Shown(names=("heavy", "light"), since_wall_ns=NOON_NS, **shown).as_dict(0) if shown else None
    extractor = {"state": "ready", "registered": registered, "obs_per_s": 0.0, "backend": backend}
    extractor["latency_ms"] = {"p95": None}
    return summary({"extractor": extractor, "counters": {"sent.obs": 7}})


def test_of_an_extractor_without_a_choice_nothing_is_said():
    assert line() == "ready, 7 observed, 0 skipped"


def test_of_an_extractor_that_fusion_has_not_accepted_that_is_said():
    assert line(registered=False) == "ready (not accepted by fusion), 7 observed, 0 skipped"


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ({"name": "heavy", "rung": 0}, "ready on heavy, 7 observed"),
        (
            {"name": "light", "rung": 1, "state": "fallback", "reason": "heavy: no model"},
            "ready on light (heavy: no model), since 2026-01-31T12:03Z, 7 observed",
        ),
        (
            {"name": "light", "rung": 1, "state": "fallback", "reason": "heavy: no model", "loading": "heavy"},
            "ready on light (heavy: no model; loading heavy), since 2026-01-31T12:03Z, 7 observed",
        ),
        (
            {"name": "heavy", "rung": 0, "state": "probation"},
            "ready on heavy (on probation), since 2026-01-31T12:03Z, 7 observed",
        ),
        (
            {"name": "heavy", "rung": 0, "about": {"device": "cpu", "no_gpu": "no driver"}},
            "ready on heavy (on the CPU: no driver), 7 observed",
        ),
        ({"loading": "heavy"}, "ready (loading heavy), 7 observed"),
    ],
    ids=["the best", "a lesser one", "while it loads", "on probation", "without the GPU", "none yet"],
)
def test_which_backend_and_why(shown, said):
    assert line(**shown) == f"{said}, 0 skipped"
