"""wave: a raised hand that swings to and fro, and all that only looks like it."""

from __future__ import annotations

import math
import random

import pytest

from facemoment.wave import LEAST_SWING, MAX_GAP_NS, WINDOW_NS, WaveDetector

CLEAR = 0.5


def scores(place, fps=10, seconds=4.0):
    """What the detector says on each frame of a hand whose place is a function of the time in seconds."""
    detector = WaveDetector()
    return [
        detector.update(round(number * 1e9 / fps), place(number / fps)) for number in range(1, round(seconds * fps) + 1)
    ]


def waving(hertz, swing=0.6, middle=0.8):
    return lambda t: middle + swing / 2 * math.sin(2 * math.pi * hertz * t)


def noise(size, seed=1):
    chance = random.Random(seed)
    return lambda t: chance.gauss(0, size)


@pytest.mark.parametrize("fps", [5, 10, 30])
@pytest.mark.parametrize("hertz", [1.0, 1.6])
def test_wave_is_clear_within_two_seconds(fps, hertz):
    assert max(scores(waving(hertz), fps, seconds=2.0)) >= CLEAR


@pytest.mark.parametrize("fps", [10, 30])
def test_fast_wave_is_clear(fps):
    assert max(scores(waving(3.0), fps)) >= CLEAR


def test_wave_that_goes_on_stays_clear():
    assert min(scores(waving(1.5), fps=30)[60:]) >= CLEAR


def test_wave_is_clear_in_noise_and_while_the_hand_drifts_away():
    jitter = noise(0.03)
    assert max(scores(lambda t: waving(1.5)(t) + 0.1 * t + jitter(t), fps=30)) >= CLEAR


@pytest.mark.parametrize("fps", [5, 10, 30])
@pytest.mark.parametrize(
    "place",
    [
        pytest.param(lambda t: 0.8, id="still"),
        pytest.param(noise(0.03), id="noise"),
        pytest.param(lambda t: 0.5 * t, id="drift"),
        pytest.param(lambda t: 0.5 * t + noise(0.03)(t), id="drift and noise"),
        pytest.param(waving(0.25), id="slow"),
        pytest.param(waving(2.0, swing=0.9 * LEAST_SWING), id="small"),
        pytest.param(lambda t: 0.8 if t < 1 else 1.6, id="moved once"),
        pytest.param(lambda t: 1.6 if 1 < t < 1.4 else 0.8, id="there and back"),
    ],
)
def test_what_is_no_wave_scores_nothing(place, fps):
    assert max(scores(place, fps)) < CLEAR


def test_small_waves_score_less_than_large_ones():
    small, large = (max(scores(waving(1.5, swing), fps=30)) for swing in (0.25, 0.5))
    assert 0 < small < large


def test_more_changes_score_more():
    slow, fast = (max(scores(waving(hertz), fps=30)) for hertz in (0.8, 1.6))
    assert 0 < slow < fast == 1.0


def test_score_falls_when_the_hand_stops():
    stopped = scores(lambda t: waving(1.5)(min(t, 2.0)), fps=30, seconds=2 + WINDOW_NS / 1e9 + 0.5)
    assert max(stopped) >= CLEAR
    assert stopped[-1] == 0.0


def test_lowered_hand_scores_nothing_at_once():
    detector = WaveDetector()
    seen = [detector.update(n * 33_000_000, waving(1.5)(n * 0.033)) for n in range(1, 60)]
    assert seen[-1] >= CLEAR
    assert detector.update(60 * 33_000_000, None) == 0.0


def test_hand_that_is_lost_for_a_frame_still_waves():
    assert max(scores(lambda t: None if round(t * 30) % 10 == 0 else waving(1.5)(t), fps=30)) >= CLEAR


def test_hand_that_was_away_begins_anew():
    detector = WaveDetector()
    for n in range(1, 60):
        detector.update(n * 33_000_000, waving(1.5)(n * 0.033))
    assert detector.update(60 * 33_000_000 + MAX_GAP_NS, 0.8) == 0.0


def test_reset_forgets_the_wave():
    detector = WaveDetector()
    for n in range(1, 60):
        detector.update(n * 33_000_000, waving(1.5)(n * 0.033))
    detector.reset()
    assert detector.update(60 * 33_000_000, 0.8) == 0.0
