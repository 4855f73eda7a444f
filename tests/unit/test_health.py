"""How each daemon does, from what all of them answer."""

import copy

import pytest

from visualpath.core.health import Health, Seen, judge, worst

S = 1_000_000_000
NOW_NS = 1_769_860_980 * S

FRAME = {
    "uptime_ns": 600 * S,
    "lately": {},
    "stream": {"stream": "cam1", "state": "live", "reason": ""},
    "measured": {"last_frame_age_ns": S // 30, "timeout_ns": 5 * S},
}
EXTRACTOR = {
    "uptime_ns": 600 * S,
    "lately": {"sent.obs": 9000},
    "extractor": {
        "state": "ready",
        "streams": ["cam1"],
        "busy_ns": 0,
        "registered": True,
        "backend": None,
        "freshness": {"cam1": {"silent_ns": S // 30, "unanswered_ns": 0}},
    },
}
FUSION = {
    "uptime_ns": 600 * S,
    "lately": {"obs.face": 9000, "fused.face": 9000},
    "outbox": 0,
    "undelivered_ns": 0,
    "window_ns": S // 10,
    "sources": {"face": {"state": "ready", "silent_ms": 20}},
    "streams": {"cam1": {"state": "live", "unfused_ns": 0}},
}
CLIP = {
    "uptime_ns": 600 * S,
    "lately": {},
    "unfinished": 0,
    "streams": {"cam1": {"silent_ns": S // 30}},
    "disk_busy_ns": 0,
    "disk": {"total_bytes": 100 << 30, "free_bytes": 50 << 30},
}
ALL = {"frame-cam1": FRAME, "extractor-face": EXTRACTOR, "fusion": FUSION, "clip": CLIP}


def judged(before=None, now_ns=NOW_NS, **changes):
    """All daemons in good health, but for `changes`: by path with double underscores, as `clip__outbox=3`."""
    statuses = copy.deepcopy(ALL)
    for path, value in changes.items():
        daemon, *keys = (
            path.replace("frame__", "frame-cam1__").replace("extractor__", "extractor-face__", 1).split("__")
        )
        place = statuses
        for key in [daemon, *keys][:-1]:
            place = place[key]
        place[[daemon, *keys][-1]] = value
    return judge({daemon: Seen(status) for daemon, status in statuses.items()}, now_ns, before)


def ill(**changes):
    """Who is not healthy, and why."""
    return {name: (each.state, each.reason) for name, each in judged(**changes).items() if each.state != "healthy"}


def without(daemon, **seen):
    statuses = {name: Seen(status) for name, status in ALL.items()} | {daemon: Seen(None, **seen)}
    return judge(statuses, NOW_NS)


def test_where_all_flows_all_are_healthy():
    assert ill() == {}


# Streams --------------------------------------------------------------------------------------------


def test_a_source_that_has_come_to_its_end_is_no_failure():
    assert ill(frame__stream__state="ended", frame__measured__last_frame_age_ns=3600 * S) == {}


def test_a_source_that_broke_off_is_one():
    found = ill(frame__stream={"stream": "cam1", "state": "ended", "reason": "damaged"})
    assert found == {"frame-cam1": ("failed", "the source broke off: damaged")}


def test_a_stalled_stream_has_failed_and_nobody_behind_it():
    found = ill(
        frame__stream={"stream": "cam1", "state": "stalled", "reason": "connection refused"},
        extractor__extractor__freshness={"cam1": {"silent_ns": 60 * S, "unanswered_ns": 0}},
        clip__streams__cam1__silent_ns=60 * S,
    )
    assert found == {"frame-cam1": ("failed", "no frames: connection refused")}


@pytest.mark.parametrize(("age_s", "state"), [(14, None), (16, "failed")])
def test_a_live_stream_without_frames_for_three_timeouts_has_failed(age_s, state):
    found = ill(
        frame__measured__last_frame_age_ns=age_s * S,
        extractor__extractor__freshness={"cam1": {"silent_ns": age_s * S, "unanswered_ns": 0}},
        clip__streams__cam1__silent_ns=age_s * S,
    )
    assert found == ({} if state is None else {"frame-cam1": ("failed", f"no frame for {age_s} s")})


@pytest.mark.parametrize(("uptime_s", "state"), [(5, "degraded"), (90, "failed")])
def test_a_stream_that_begins_is_degraded_for_a_minute(uptime_s, state):
    found = ill(frame__stream__state="starting", frame__uptime_ns=uptime_s * S, frame__measured__last_frame_age_ns=None)
    assert found["frame-cam1"] == (state, "no frame yet")


# Extractors -----------------------------------------------------------------------------------------


def test_frames_that_flow_while_observations_stop_are_a_failure():
    found = ill(extractor__extractor__freshness__cam1__unanswered_ns=7 * S)
    assert found == {"extractor-face": ("failed", "no observation of cam1 for 7 s")}


def test_a_long_inference_is_none_until_it_counts_as_hung():
    assert ill(extractor__extractor__freshness__cam1__unanswered_ns=9 * S, extractor__extractor__busy_ns=9 * S) == {}


def test_one_of_two_streams_without_observations_is_degraded():
    freshness = {"cam1": {"silent_ns": 0, "unanswered_ns": 20 * S}, "cam2": {"silent_ns": 0, "unanswered_ns": 0}}
    statuses = copy.deepcopy(ALL) | {"frame-cam2": copy.deepcopy(FRAME)}
    statuses["frame-cam2"]["stream"]["stream"] = "cam2"
    statuses["extractor-face"]["extractor"] |= {"freshness": freshness, "streams": ["cam1", "cam2"]}
    found = judge({name: Seen(status) for name, status in statuses.items()}, NOW_NS)["extractor-face"]
    assert (found.state, found.reason) == ("degraded", "no observation of cam1 for 20 s")


def test_frames_that_do_not_reach_the_extractor_are_a_failure():
    found = ill(extractor__extractor__freshness__cam1__silent_ns=30 * S)
    assert found == {"extractor-face": ("failed", "frames do not reach it: cam1 for 30 s")}


def test_a_seldom_frame_is_seldom_for_all():
    found = ill(
        frame__measured__last_frame_age_ns=12 * S,
        extractor__extractor__freshness={"cam1": {"silent_ns": 12 * S, "unanswered_ns": 0}},
        clip__streams__cam1__silent_ns=12 * S,
    )
    assert found == {}


@pytest.mark.parametrize(("looked", "state"), [(70, None), (50, "degraded")])
def test_a_slow_model_is_degraded_below_a_fifth_of_the_frames(looked, state):
    found = ill(extractor__lately={"sent.obs": looked, "skipped.backpressure": 300 - looked})
    told = {"extractor-face": ("degraded", f"too slow: it has looked at {looked} of 300 frames")}
    assert found == ({} if state is None else told)


def test_a_slow_model_is_not_judged_before_300_frames():
    assert ill(extractor__lately={"sent.obs": 1, "skipped.backpressure": 298}) == {}


@pytest.mark.parametrize("state", ["fallback", "probation"])
def test_a_lesser_backend_is_degraded(state):
    backend = {"name": "mediapipe", "state": state, "reason": "insightface: no model"}
    found = ill(extractor__extractor__backend=backend)
    assert found == {"extractor-face": ("degraded", "runs on mediapipe: insightface: no model")}


def test_without_any_backend_that_works_it_has_failed():
    backend = {"name": "mediapipe", "state": "failed", "reason": "no graph"}
    found = ill(extractor__extractor__state="failed", extractor__extractor__backend=backend)
    assert found == {"extractor-face": ("failed", "no backend works: no graph")}


def test_a_hung_inference_has_failed_since_it_began():
    health = judged(extractor__extractor__state="hung", extractor__extractor__busy_ns=12 * S)["extractor-face"]
    assert health == Health("failed", "one inference has run for 12 s", NOW_NS - 12 * S)


@pytest.mark.parametrize(("uptime_s", "state"), [(10, "degraded"), (301, "failed")])
def test_a_model_may_load_for_five_minutes(uptime_s, state):
    extractor = {**EXTRACTOR["extractor"], "state": "starting", "registered": False}
    found = ill(extractor__extractor=extractor, extractor__uptime_ns=uptime_s * S)
    assert found["extractor-face"] == (state, "its model is being loaded")


def test_a_backend_that_is_loaded_in_the_place_of_another_is_no_failure():
    found = ill(extractor__extractor__state="starting", extractor__uptime_ns=3600 * S)
    assert found == {"extractor-face": ("degraded", "its model is being loaded")}


@pytest.mark.parametrize(("lost", "state"), [(60, None), (1200, "degraded")])
def test_observations_that_a_restart_of_fusion_has_lost_are_few(lost, state):
    found = ill(extractor__lately={"sent.obs": 9000, "dropped.obs": lost})
    told = {"extractor-face": ("degraded", "1200 of 10200 observations lost while fusion was down or busy")}
    assert found == ({} if state is None else told)


def test_one_that_fusion_does_not_hear_has_failed():
    found = ill(fusion__sources__face__silent_ms=9000)
    assert found == {"extractor-face": ("failed", "fusion does not hear it for 9 s")}


def test_one_that_fusion_has_not_accepted_has_failed():
    found = ill(extractor__extractor__registered=False)
    assert found == {"extractor-face": ("failed", "fusion has not accepted it")}


def test_one_whose_observations_come_too_late_is_degraded():
    found = ill(fusion__lately={"obs.face": 1000, "fused.face": 10})
    assert found == {
        "extractor-face": ("degraded", "fusion could use 10 of 1000 observations: the others came too late")
    }


# Fusion ---------------------------------------------------------------------------------------------


def test_observations_without_sets_are_a_failure_of_fusion():
    found = ill(fusion__streams__cam1__unfused_ns=8 * S)
    assert found == {"fusion": ("failed", "cam1: no frame was fused for 8 s")}


def test_a_window_may_be_long():
    assert ill(fusion__streams__cam1__unfused_ns=8 * S, fusion__window_ns=4 * S) == {}


def test_a_fusion_that_does_not_hear_of_a_stream_has_failed():
    assert ill(fusion__streams__cam1__state="unknown") == {"fusion": ("failed", "it does not hear of cam1")}


@pytest.mark.parametrize(("waiting_s", "state"), [(1, None), (6, "degraded")])
def test_triggers_that_wait_for_clip_are_degraded_after_a_while(waiting_s, state):
    found = ill(fusion__outbox=3, fusion__undelivered_ns=waiting_s * S)
    assert found == ({} if state is None else {"fusion": ("degraded", "3 triggers wait for clip since 6 s")})


def test_lost_triggers_are_a_failure():
    assert ill(fusion__lately={"lost.trigger": 2}) == {"fusion": ("failed", "lost triggers: 2")}


# Clip -----------------------------------------------------------------------------------------------


def test_frames_that_do_not_reach_clip_are_a_failure():
    assert ill(clip__streams__cam1__silent_ns=6 * S) == {"clip": ("failed", "frames of cam1 do not reach it for 6 s")}


@pytest.mark.parametrize(("saved", "state"), [(3, "degraded"), (0, "failed")])
def test_clips_that_cannot_be_made_are_degraded_and_a_failure_if_none_can(saved, state):
    found = ill(clip__lately={"clips.failed": 2, "clips.saved": saved})
    assert found == {"clip": (state, f"2 of {2 + saved} clips could not be made")}


@pytest.mark.parametrize(("busy_s", "state"), [(59, None), (61, "failed")])
def test_a_disk_that_does_not_answer_is_a_failure(busy_s, state):
    found = ill(clip__disk_busy_ns=busy_s * S)
    assert found == ({} if state is None else {"clip": (state, "the disk of the clips has not answered for 61 s")})


def test_a_disk_that_is_nearly_full_is_degraded():
    found = ill(clip__disk={"total_bytes": 100 << 30, "free_bytes": 200 << 20})
    assert found == {"clip": ("degraded", "the disk of the clips is nearly full: 200 MiB are free")}


def test_a_small_disk_is_nearly_full_at_a_twentieth():
    assert ill(clip__disk={"total_bytes": 1 << 30, "free_bytes": 100 << 20}) == {}


# All ------------------------------------------------------------------------------------------------


def test_a_daemon_that_does_not_answer_has_failed_with_what_its_supervisor_says():
    health = without("clip", told="ended with exit status 74")["clip"]
    assert (health.state, health.reason) == ("failed", "does not answer: ended with exit status 74")


def test_one_that_ends_again_and_again_is_degraded_while_it_answers():
    health = judge({"clip": Seen(CLIP, ends=3)}, NOW_NS)["clip"]
    assert (health.state, health.reason) == ("degraded", "was started again 3 times in 10 min")


def test_the_worst_finding_is_told_first():
    found = ill(fusion__lately={"lost.trigger": 1, "failed.fusion": 5})
    assert found["fusion"] == ("failed", "lost triggers: 1; frames on which the fusion plug-in failed: 5")


def test_counters_of_several_hooks_are_told_together():
    watch = {"uptime_ns": S, "hooks": {}, "lately": {"hooks.failed.a": 2, "hooks.failed.b": 1}}
    health = judge({"watch": Seen(watch)}, NOW_NS)["watch"]
    assert (health.state, health.reason) == ("degraded", "events that a hook did not take: 3 (a, b; the log says why)")


def test_the_whole_is_as_well_as_the_worst():
    assert worst({"a": Health(), "b": Health("failed"), "c": Health("degraded")}) == "failed"


def test_since_stays_while_the_state_does():
    first = judged(clip__lately={"clips.no_space": 1}, before={})
    later = judged(clip__lately={"failed.disk": 1}, before=first, now_ns=NOW_NS + 60 * S)
    assert (first["clip"].since_wall_ns, later["clip"].since_wall_ns) == (NOW_NS, NOW_NS)


def test_since_begins_anew_with_another_state():
    first = judged(clip__lately={"clips.no_space": 1}, before={})
    assert judged(before=first, now_ns=NOW_NS + 60 * S)["clip"].since_wall_ns == NOW_NS + 60 * S


def test_who_has_not_looked_on_does_not_know_since_when():
    assert judged(clip__lately={"clips.no_space": 1})["clip"].since_wall_ns is None


@pytest.mark.parametrize(
    "answer", [{}, {"lately": 5}, {**FRAME, "stream": None}, {**FRAME, "measured": {"timeout_ns": []}}]
)
def test_an_answer_that_cannot_be_read_is_a_failure_and_no_crash(answer):
    health = judge({"frame-cam1": Seen(answer)}, NOW_NS)["frame-cam1"]
    assert health.state == "failed"
    assert "cannot be read" in str(health)
