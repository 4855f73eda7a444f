"""The scripted extractor: the times that it draws, what it says, and which scripts it refuses."""

import random
import statistics

import numpy as np
import pytest

from visualbase.frame import Frame
from visualpath.plugin.discovery import load_extractor
from visualpath.testing.scripted import Script, ScriptedExtractor

TAIL = {"share": 0.15, "low_ms": 75, "high_ms": 95}
FRAME = Frame(np.zeros((8, 8, 1), np.uint8), frame_id=0, t_ns=0)


def drawn(n=4000, **config):
    script, chance = Script.parse(config), random.Random(1)
    return [script.draw_ms(chance) for _ in range(n)]


@pytest.fixture
def slept(monkeypatch):
    """What the extractor slept, in s, without the sleep."""
    times = []
    monkeypatch.setattr("visualpath.testing.scripted.time.sleep", times.append)
    return times


def look(frames=1, **config):
    extractor = ScriptedExtractor(config)
    return [extractor.extract(FRAME) for _ in range(frames)]


def test_it_sleeps_the_mean_when_nothing_deviates(slept):
    look(frames=2, mean_ms=42)
    assert slept == [0.042, 0.042]


def test_the_same_seed_sleeps_the_same_times(slept):
    look(frames=5, mean_ms=42, sd_ms=8, seed=7)
    look(frames=5, mean_ms=42, sd_ms=8, seed=7)
    assert slept[:5] == slept[5:]
    assert len(set(slept)) == 5


def test_another_seed_sleeps_other_times(slept):
    look(frames=5, mean_ms=42, sd_ms=8, seed=7)
    look(frames=5, mean_ms=42, sd_ms=8, seed=8)
    assert slept[:5] != slept[5:]


def test_times_have_the_mean_and_deviation_asked_for():
    times = drawn(mean_ms=42, sd_ms=8)
    assert statistics.mean(times) == pytest.approx(42, abs=0.6)
    assert statistics.stdev(times) == pytest.approx(8, abs=0.4)


def test_no_time_is_zero_or_below():
    assert min(drawn(mean_ms=1, sd_ms=10)) > 0


def test_a_tail_replaces_its_share_of_the_times():
    slow = [time for time in drawn(mean_ms=10, tail=TAIL) if time != 10]
    assert len(slow) / 4000 == pytest.approx(0.15, abs=0.02)
    assert 75 <= min(slow) < 76
    assert 94 < max(slow) <= 95


@pytest.mark.usefixtures("slept")
def test_every_observation_carries_the_signals_of_the_script():
    assert [seen.signals for seen in look(frames=2, mean_ms=1, signals={"value": 1})] == [{"value": 1.0}] * 2


@pytest.mark.usefixtures("slept")
def test_what_is_done_to_one_observation_does_not_reach_the_next():
    first, second = look(frames=2, mean_ms=1, signals={"value": 1})
    first.signals.clear()
    assert second.signals == {"value": 1.0}


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({}, "mean_ms"),
        ({"mean_ms": 0}, "mean_ms"),
        ({"mean_ms": "fast"}, "mean_ms"),
        ({"mean_ms": 1, "sd_ms": -1}, "sd_ms"),
        ({"mean_ms": 1, "sd": 1}, "`sd`"),
        ({"mean_ms": 1, "tail": {**TAIL, "share": 15}}, "tail.share"),
        ({"mean_ms": 1, "tail": {**TAIL, "low_ms": 99}}, "low_ms 99 is above high_ms 95"),
        ({"mean_ms": 1, "signals": {"value": "high"}}, "signals"),
    ],
)
def test_a_bad_script_is_refused_by_name(config, what):
    with pytest.raises(ValueError, match=what):
        ScriptedExtractor(config)


def test_it_is_installed_under_its_name():
    assert load_extractor("scripted") is ScriptedExtractor
