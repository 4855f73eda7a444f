"""What `vpctl top` shows: how streams, extractors and fusion do at present. Pure.

It takes what daemons answer to `metrics` and what fusion and clip tell on their taps, and gives `facts`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from visualpath.ctl.answers import Answer, Answers
from visualpath.ctl.sync_frames import Facts, ObsSeen, SetSeen, SkipSeen, StreamFrames
from visualpath.runtime.config import Config
from visualpath.runtime.roles import roles
from visualpath_protocol.clock import NS_PER_MS, NS_PER_S, rfc3339
from visualpath_protocol.endpoints import FUSION, extractor_daemon, frame_daemon
from visualpath_protocol.messages import Event, Name, TrigId

EXTRACTOR_LOSSES = ("skipped.", "dropped.", "refused.")
LOSSES = ("dropped.", "refused.", "failed.", "lost.")
ABSENT = ("down", "starting", "stopping")
MAX_MOMENTS = 3
MAX_HOLD_NS = 3600 * NS_PER_S
"""No frame is held for so long: an event that says so is unreadable."""


class SourceState(msgspec.Struct):
    """Body of an event `state` about a source: up or down anywhere, idle or active on one stream."""

    source: str
    state: str
    stream: str = ""


class TriggerSeen(msgspec.Struct):
    """Body of an event `trigger`."""

    trig_id: TrigId
    stream: Name
    label: Name
    reason: str
    score: float
    t_start_ns: int
    t_end_ns: int


class ClipSeen(msgspec.Struct):
    """Body of an event `clip`."""

    trig_id: TrigId
    state: str
    path: str = ""
    why: str = ""


class SyncView:
    """The state behind the picture. All that it keeps is bounded."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.answers = Answers()
        self._frames = {stream: StreamFrames(config.fusion.window_ns) for stream in config.streams}
        self._sources: dict[str, dict[str, Any]] = {}
        """What fusion last said of each source."""
        self._moments: OrderedDict[str, Facts] = OrderedDict()
        self._unreadable = 0
        self._listeners: Mapping[str, tuple[type, Callable[[Any, Event], None]]] = {
            "state": (SourceState, self._heard_state),
            "obs": (ObsSeen, self._heard_obs),
            "skip": (SkipSeen, self._heard_skip),
            "set": (SetSeen, self._heard_set),
            "trigger": (TriggerSeen, self._heard_trigger),
            "clip": (ClipSeen, self._heard_clip),
        }

    def answered(self, answers: Mapping[str, Answer | None]) -> None:
        """What each daemon has answered to `metrics`; None for one that does not answer."""
        self.answers.add(answers)
        fusion = self.answers.newest(FUSION)
        if fusion is None:
            return
        self._sources = fusion["sources"]
        present = {name for name, told in self._sources.items() if told["state"] not in ABSENT}
        for stream, frames in self._frames.items():
            frames.down = {*self._config.extractors, *self._sources} - present
            told = fusion["streams"].get(stream)
            if told is not None and told["state"] != "unknown":
                frames.follow(told["epoch"])

    def heard(self, event: Event) -> None:
        """An event of a tap; what cannot be read, as of another minor version, is counted."""
        try:
            if event.kind in self._listeners:
                body, listener = self._listeners[event.kind]
                listener(msgspec.convert(event.body, body), event)
        except msgspec.ValidationError:
            self._unreadable += 1

    def facts(self, now: int) -> Facts:
        """Everything, as builtins; `now` is monotonic ns. Times in ms; None where nothing is known."""
        for frames in self._frames.values():
            frames.forget(now)
        fusion = self.answers.newest(FUSION)
        return {
            "window_ms": self._config.fusion.window_ns / NS_PER_MS,
            "streams": {stream: self._stream_facts(stream) for stream in self._config.streams},
            "extractors": {source: self._extractor_facts(source) for source in self._known_sources()},
            "sync": {stream: self._sync_facts(stream, now) for stream in self._config.streams},
            "moments": list(self._moments.values()),
            "outbox": fusion["outbox"] if fusion else None,
            "daemons": self._daemon_facts(),
            "untold": sum(frames.untold for frames in self._frames.values()),
            "unreadable": self._unreadable,
        }

    # Events.

    def _heard_obs(self, obs: ObsSeen, event: Event) -> None:
        if obs.stream in self._frames:
            self._frames[obs.stream].heard_obs(obs, event.mono_ns)

    def _heard_skip(self, skip: SkipSeen, _event: Event) -> None:
        if skip.stream in self._frames:
            self._frames[skip.stream].heard_skip(skip)

    def _heard_set(self, aligned: SetSeen, event: Event) -> None:
        if not 0 <= aligned.hold_ns <= MAX_HOLD_NS:
            raise msgspec.ValidationError(f"held for {aligned.hold_ns} ns")
        if aligned.stream in self._frames:
            self._frames[aligned.stream].heard_set(aligned, event.mono_ns)

    def _heard_state(self, told: SourceState, _event: Event) -> None:
        for stream, frames in self._frames.items():
            match told.state:
                case "down":
                    frames.down.add(told.source)
                case "up":
                    frames.down.discard(told.source)
                    frames.idle.discard(told.source)
                case "idle" if told.stream == stream:
                    frames.idle.add(told.source)
                case "active" if told.stream == stream:
                    frames.idle.discard(told.source)

    def _heard_trigger(self, trigger: TriggerSeen, event: Event) -> None:
        self._moment(trigger.trig_id).update(msgspec.structs.asdict(trigger), time=rfc3339(event.wall_ns))

    def _heard_clip(self, clip: ClipSeen, _event: Event) -> None:
        self._moment(clip.trig_id)["clip"] = {"state": clip.state, "path": clip.path, "why": clip.why}

    def _moment(self, trig_id: str) -> Facts:
        moment = self._moments.setdefault(trig_id, {"trig_id": trig_id, "clip": None})
        if len(self._moments) > MAX_MOMENTS:
            self._moments.popitem(last=False)
        return moment

    # Facts.

    def _stream_facts(self, stream: str) -> Facts:
        told = self.answers.newest(frame_daemon(stream))
        state = told["stream"] if told else {"state": "down", "reason": "", "epoch": None, "last_frame_id": None}
        age_ns = told["measured"]["last_frame_age_ns"] if told else None
        return {
            **{key: state[key] for key in ("state", "reason", "epoch", "last_frame_id")},
            "last_frame_age_ms": age_ns / NS_PER_MS if age_ns is not None else None,
            "frames_per_s": told["measured"]["fps"] if told else None,
            "sets_per_s": self._sets_per_s(stream),
            "complete": self._frames[stream].complete(),
            "capture_to_set_ms": self.answers.percentiles_ms(FUSION, "capture_to_set", {"stream": stream}),
        }

    def _sets_per_s(self, stream: str) -> float | None:
        """None also for a stream that the configuration has and the running fusion has not."""
        fusion = self.answers.newest(FUSION)
        if fusion is None or stream not in fusion["streams"]:
            return None
        return self.answers.per_s(FUSION, lambda answer: float(answer["streams"][stream]["sets"]))

    def _known_sources(self) -> list[str]:
        return [*self._config.extractors, *sorted(self._sources.keys() - self._config.extractors.keys())]

    def _extractor_facts(self, source: str) -> Facts:
        """Of a source that the configuration does not name, only fusion can tell."""
        answer = self.answers.newest(extractor_daemon(source))
        configured = source in self._config.extractors
        told = answer["extractor"] if answer else {} if configured else self._sources[source]
        obs = self.answers.per_s(FUSION, lambda each: float(each["counters"].get(f"obs.{source}", 0)))
        return {
            "state": told.get("state", "down"),
            "registered": told.get("registered", source in self._sources),
            "idle_on": [stream for stream, frames in self._frames.items() if source in frames.idle],
            "obs_per_s": told.get("obs_per_s", None if configured else obs),
            "latency_ms": told.get("latency_ms", {"p50": None, "p95": None}),
            "busy_ms": told.get("busy_ns", 0) / NS_PER_MS,
            "lost": self._lost_of(source),
        }

    def _lost_of(self, source: str) -> Facts:
        """What the source left out or could not send, what never arrived, and what came too late for its set."""
        answers = self.answers
        lost: Facts = dict(answers.counters(extractor_daemon(source), EXTRACTOR_LOSSES))
        lost["late"] = answers.counter(FUSION, f"late.{source}")
        lost["missing.slow"] = answers.counter(FUSION, f"missing.slow.{source}")
        lost["lost"] = {
            "total": self._sources.get(source, {}).get("lost", 0),
            "per_s": answers.per_s(FUSION, lambda each: float(each["sources"].get(source, {}).get("lost", 0))),
        }
        return {reason: counted for reason, counted in lost.items() if counted["total"]}

    def _sync_facts(self, stream: str, now: int) -> Facts:
        frames, extractors = self._frames[stream], self._config.extractors
        names = self._expected(stream)

        def expected(frame_id: int) -> list[str]:
            return [name for name in names if name not in extractors or extractors[name].looks_at(frame_id)]

        return {"newest": frames.newest(expected, now), "slowest": frames.slowest(expected, now)}

    def _expected(self, stream: str) -> list[str]:
        """The sources that fusion waits for while they are there."""
        config, told = self._config, self._sources
        strangers = sorted(told.keys() - config.extractors.keys())
        return [
            *(name for name in config.extractors_of(stream) if config.extractors[name].expected),
            *(name for name in strangers if told[name]["expected"] and stream in told[name]["streams"]),
        ]

    def _daemon_facts(self) -> Facts:
        return {
            role.daemon: {
                "up": self.answers.newest(role.daemon) is not None,
                "lost": self.answers.counters(role.daemon, EXTRACTOR_LOSSES if role.role == "extractor" else LOSSES),
            }
            for role in roles(self._config)
        }
