"""What daemons answer, as Prometheus reads it: parsed back with prometheus_client's own parser."""

from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from visualpath.ctl.exposition import COUNTERS, HISTOGRAMS, OTHER, PREFIX, STATUS, UP, exposition, metric_of
from visualpath.runtime.histogram import Histograms

MS = 1_000_000

PROMLINT_TYPES = ("counter", "gauge", "histogram", "summary")
ABBREVIATED_UNITS = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "milliseconds", "kibibytes"}


def answer(counters=(), durations=(), **status):
    """As a daemon gives it: durations by (name, ns, labels)."""
    histograms = Histograms(Counter(), 100)
    for name, duration_ns, labels in durations:
        histograms.observe(name, duration_ns, **labels)
    return {"counters": dict(counters), "histograms": histograms.snapshot(), **status}


def families(**answers):
    text = exposition({name.replace("_", "-"): each for name, each in answers.items()})
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(**answers):
    """Value by name and labels, of every sample."""
    found = [(s.name, frozenset(s.labels.items()), s.value) for f in families(**answers).values() for s in f.samples]
    assert len({each[:2] for each in found}) == len(found), "a sample stands there twice"
    return {(name, labels): value for name, labels, value in found}


def sample(name, /, **labels):
    return name, frozenset(labels.items())


# Who answers ----------------------------------------------------------------------------------------


def test_a_daemon_that_answers_is_up():
    assert samples(fusion=answer())[sample("visualpath_up", daemon="fusion")] == 1


def test_of_a_daemon_that_does_not_answer_there_is_only_that():
    assert samples(fusion=None) == {sample("visualpath_up", daemon="fusion"): 0}


def test_one_metric_of_several_daemons_is_one_family():
    found = families(frame_cam1=answer({"frames": 3}), frame_cam2=answer({"frames": 4}))
    values = {s.labels["daemon"]: s.value for s in found["visualpath_frames"].samples}
    assert values == {"frame-cam1": 3, "frame-cam2": 4}


def test_an_answer_without_counters_and_histograms_has_the_rest():
    assert samples(fusion={"outbox": 2}) == {
        sample("visualpath_up", daemon="fusion"): 1,
        sample("visualpath_outbox_triggers", daemon="fusion"): 2,
    }


# Counters -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "metric", "labels"),
    [
        ("frames", "frames_total", {}),
        ("obs.face", "obs_total", {"source": "face"}),
        ("sets", "frames_fused_total", {}),
        ("sets.window", "sets_total", {"reason": "window"}),
        ("missing.slow.face", "missing_total", {"reason": "slow", "source": "face"}),
        ("refused.obs.unknown-stream", "refused_total", {"link": "obs", "reason": "unknown-stream"}),
        ("dropped.ring_full", "dropped_total", {"reason": "ring_full"}),
        ("dropped.source.damaged", "dropped_total", {"reason": "source.damaged"}),
        ("triggers", "triggers_total", {}),
        ("triggers.refused", "triggers_received_total", {"result": "refused"}),
        ("invented", "other_total", {"name": "invented"}),
        ("frames.invented", "other_total", {"name": "frames.invented"}),
        ("missing.face", "other_total", {"name": "missing.face"}),
    ],
)
def test_a_counter_becomes_a_metric_with_labels(counter, metric, labels):
    found = samples(fusion=answer({counter: 7}))
    assert found[sample(PREFIX + metric, daemon="fusion", **labels)] == 7


def test_no_counter_is_lost_and_no_two_become_one():
    names = [pattern.lower() for pattern in COUNTERS] + ["quite.another", "another"]
    found = samples(clip=answer({name: n for n, name in enumerate(names, 1)}))
    values = [value for (name, _), value in found.items() if name != "visualpath_up"]
    assert sorted(values) == list(range(1, len(names) + 1))


def test_counters_are_of_type_counter():
    found = families(clip=answer({"clips.saved": 1, "invented": 1}, sources={"face": {"lost": 2}}))
    assert {found["visualpath_" + name].type for name in ("clips", "other", "source_lost")} == {"counter"}


def test_a_label_may_hold_any_text():
    found = samples(clip=answer({'a"b\\c\nd': 1}))
    assert found[sample("visualpath_other_total", daemon="clip", name='a"b\\c\nd')] == 1


# Numbers of the status ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "metric", "labels", "value"),
    [
        ({"uptime_ns": 1_500 * MS}, "uptime_seconds", {}, 1.5),
        ({"rss_bytes": 4096}, "resident_memory_bytes", {}, 4096),
        ({"measured": {"last_frame_age_ns": 40 * MS}}, "last_frame_age_seconds", {}, 0.04),
        ({"ring": {"held_ns": 2_000 * MS}}, "ring_held_seconds", {}, 2),
        ({"subscribers": {"headers": 3}}, "subscribers", {"topic": "headers"}, 3),
        ({"extractor": {"registered": True}}, "extractor_registered", {}, 1),
        ({"outbox": 5}, "outbox_triggers", {}, 5),
        ({"sources": {"face": {"silent_ms": 250}}}, "source_silent_seconds", {"source": "face"}, 0.25),
        ({"sources": {"face": {"lost": 2}}}, "source_lost_total", {"source": "face"}, 2),
        ({"streams": {"cam1": {"recording": 1}}}, "clips_recording", {"stream": "cam1"}, 1),
    ],
)
def test_a_number_of_the_status_becomes_a_metric_in_base_units(status, metric, labels, value):
    assert samples(d=answer(**status))[sample(PREFIX + metric, daemon="d", **labels)] == value


@pytest.mark.parametrize("status", [{}, {"measured": {"last_frame_age_ns": None}}, {"ring": None}, {"outbox": {}}])
def test_what_a_daemon_does_not_say_is_no_metric(status):
    assert list(samples(d=answer(**status))) == [sample("visualpath_up", daemon="d")]


# Histograms -----------------------------------------------------------------------------------------

WHERE = {"stream": "cam1", "source": "face"}
DURATIONS = [("capture_to_obs", ms * MS, WHERE) for ms in (1, 45, 45, 60_000)]


def buckets(found):
    return {
        float(dict(labels)["le"]): value
        for (name, labels), value in found.items()
        if name == "visualpath_capture_to_obs_seconds_bucket"
    }


def test_buckets_are_cumulative_and_in_seconds():
    found = buckets(samples(x=answer(durations=DURATIONS)))
    assert [found[bound] for bound in (0.001, 0.04, 0.05, 30.0)] == [1, 1, 3, 3]
    assert list(found.values()) == sorted(found.values())


def test_the_bucket_without_a_bound_is_the_count():
    found = samples(x=answer(durations=DURATIONS))
    count = found[sample("visualpath_capture_to_obs_seconds_count", daemon="x", **WHERE)]
    assert buckets(found)[float("inf")] == count == 4


def test_the_sum_is_of_all_durations():
    found = samples(x=answer(durations=DURATIONS))
    assert found[sample("visualpath_capture_to_obs_seconds_sum", daemon="x", **WHERE)] == pytest.approx(60.091)


def test_it_is_of_type_histogram():
    assert families(x=answer(durations=DURATIONS))["visualpath_capture_to_obs_seconds"].type == "histogram"


def test_a_histogram_without_words_of_its_own_is_shown():
    assert "visualpath_invented_seconds" in families(x=answer(durations=[("invented", 1, {})]))


# Names ----------------------------------------------------------------------------------------------

METRICS = [name for name, _ in (UP, OTHER, *COUNTERS.values(), *STATUS.values())]
METRICS += [f"{name}_seconds" for name in HISTOGRAMS]


def test_no_name_stands_for_two_things():
    assert len(set(METRICS)) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS)
def test_names_have_no_type_and_no_abbreviated_unit_in_them(metric):
    words = metric.split("_")
    assert not set(words) & {*PROMLINT_TYPES, *ABBREVIATED_UNITS}
    assert words[-1] not in ("bucket", "count", "sum", "info", "created")


@pytest.mark.parametrize("metric", [name for name, _ in (OTHER, *COUNTERS.values())])
def test_counters_end_with_total(metric):
    assert metric.endswith("_total")


@pytest.mark.parametrize("pattern", COUNTERS)
def test_each_row_is_found_by_its_own_name(pattern):
    assert metric_of(pattern) == (COUNTERS[pattern], {word.lower(): word for word in pattern.split(".")[1:]})
