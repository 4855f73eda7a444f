"""How much counters have grown lately."""

from collections import Counter

from visualpath.runtime.lately import SPAN_NS, STEP_NS, Lately


def test_at_first_all_since_the_start_is_lately():
    assert Lately(Counter(frames=5)).growth() == {"frames": 5}


def test_what_has_not_grown_is_not_there():
    counters = Counter(frames=5, lost=1)
    lately = Lately(counters)
    for _ in range(SPAN_NS // STEP_NS + 1):
        lately.step(0)
    counters["frames"] += 2
    assert lately.growth() == {"frames": 2}


def test_what_has_grown_is_remembered_for_five_minutes():
    counters = Counter()
    lately = Lately(counters)
    counters["lost"] += 1
    seen = []
    for _ in range(SPAN_NS // STEP_NS + 5):
        lately.step(0)
        seen.append(bool(lately.growth()))
    assert seen == [True] * (SPAN_NS // STEP_NS) + [False] * 5
