"""The watch daemon: asks all others how they are, and clip what became of its clips; what has changed is told to hooks.

Nobody depends on it. It asks in a thread, since one that hangs answers late or never; each hook has a thread, too.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from visualpath.core.errors import ConfigError
from visualpath.core.health import Health, Seen, judge, worst
from visualpath.runtime.control import ControlClient, ask_all
from visualpath.runtime.main import run_daemon
from visualpath.runtime.roles import local_roles
from visualpath.runtime.service import Service
from visualpath.watch.damping import Change, Damper, Starts
from visualpath.watch.delivery import Event
from visualpath.watch.hooks import MAX_WAITING, Hook, Result
from visualpath.watch.memory import load, save, tells_clips
from visualpath_protocol.clock import NS_PER_S, mono_ns, rfc3339, wall_ns
from visualpath_protocol.endpoints import CLIP, WATCH

log = logging.getLogger(__name__)

LOOK_EVERY_NS = NS_PER_S
ANSWER_MS = 1000
STOP_PATIENCE_NS = NS_PER_S
"""For requests that are on their way; what they are about is told again after the next start."""
TEXT_MAX = 1000
"""Characters of a reason; an event must fit into a pipe."""

Look = tuple[dict[str, dict[str, Any] | None], dict[str, dict[str, Any]]]
"""The statuses by daemon, and what became of clips by hook."""


class WatchDaemon:
    """Looks once a second."""

    def __init__(self, service: Service, _name: str = "") -> None:
        config = service.config
        if not config.hooks:
            raise ConfigError(f"{config.path} has no hooks: there is nobody to tell anything")
        self._service = service
        self._daemons = [role.daemon for role in local_roles(config) if role.daemon != WATCH]
        self._path = config.state_dir / WATCH / "told.json"
        self._told = load(self._path, config.hooks)
        self._asked_after = {name: told.outcome for name, told in self._told.items()}
        self._clips_to_tell: Counter[str] = Counter()
        now = mono_ns()
        self._dampers = {
            name: Damper(hook.for_ns, self._told[name].health, now)
            for name, hook in config.hooks.items()
            if "health" in hook.on
        }
        self._starts = Starts()
        self._health: dict[str, Health] | None = None
        self._client = ControlClient(service.endpoints, WATCH)
        self._looking = ThreadPoolExecutor(1, "look")
        self._look: Future[Look] | None = None
        self._hooks = {
            name: Hook(name, hook, config.path.parent, service.refusals, partial(self._ended, name))
            for name, hook in config.hooks.items()
        }
        service.status = self._status
        service.loop.every(LOOK_EVERY_NS, lambda _now: self._begin_look())

    def run(self) -> None:
        """Work until stopped."""
        self._service.ready()
        self._begin_look()
        self._service.loop.run()

    def close(self) -> None:
        """End; what was not told yet is told after the next start, as far as it is still true then."""
        for hook in self._hooks.values():
            hook.stop()
        deadline_ns = mono_ns() + STOP_PATIENCE_NS
        for hook in self._hooks.values():
            hook.join(deadline_ns)
        self._looking.shutdown()
        self._client.close()

    def _begin_look(self) -> None:
        for hook in self._hooks.values():
            if hook.failure is not None:
                raise hook.failure
        if self._look is not None:
            return
        wanted = {
            name: self._asked_after[name]
            for name, hook in self._hooks.items()
            if tells_clips(hook.config) and hook.waiting < MAX_WAITING // 2
        }
        self._look = self._looking.submit(self._ask, wanted)
        self._look.add_done_callback(lambda _look: self._service.loop.call_soon(self._end_look))

    def _ask(self, wanted: Mapping[str, int | None]) -> Look:
        """In the thread."""
        statuses = ask_all(self._client, self._daemons, "status", timeout_ms=ANSWER_MS)
        outcomes: dict[str, dict[str, Any]] = {}
        for hook, after in wanted.items() if statuses[CLIP] is not None else ():
            args = {} if after is None else {"after": after}
            answer = ask_all(self._client, [CLIP], "outcomes", args, timeout_ms=ANSWER_MS)[CLIP]
            if answer is None:  # nor would it answer the others
                break
            outcomes[hook] = answer
        return statuses, outcomes

    def _end_look(self) -> None:
        assert self._look is not None
        statuses, outcomes = self._look.result()
        self._look = None
        self._judge(statuses)
        for name, answer in outcomes.items():
            self._take_outcomes(name, answer)

    def _judge(self, statuses: Mapping[str, dict[str, Any] | None]) -> None:
        now = mono_ns()
        for daemon, status in statuses.items():
            if status is not None:
                self._starts.note(daemon, status["pid"], now)
        seen = {daemon: Seen(status, self._starts.count(daemon, now)) for daemon, status in statuses.items()}
        self._health = judge(seen, wall_ns(), self._health)
        for name, damper in self._dampers.items():
            for change in damper.changes(self._health, now):
                if not self._hooks[name].put(self._health_event(change)):
                    damper.refused(change.daemon, now)

    def _health_event(self, change: Change) -> Event:
        assert self._health is not None
        health = change.health
        log.info("%s is %s, it was %s: %s", change.daemon, health.state, change.before, health.reason or "all is well")
        since = rfc3339(health.since_wall_ns) if health.since_wall_ns is not None else ""
        return {
            "event": "health",
            "id": f"health-{change.daemon}-{health.state}-{wall_ns()}",
            "daemon": change.daemon,
            "state": health.state,
            "before": change.before,
            "reason": health.reason[:TEXT_MAX],
            "since": since,
            "all": worst(self._health),
        }

    def _take_outcomes(self, name: str, answer: Mapping[str, Any]) -> None:
        """Hand what became of clips on to a hook; one that was never told anything begins with what comes next.

        Outcomes are numbered by the time. Only in a fresh ledger of a clock that has been put back is what is still to
        come numbered below what was told.
        """
        after, hook = self._asked_after[name], self._hooks[name]
        if after is None:
            self._asked_after[name] = answer["last"]
        elif answer["last"] < after and wall_ns() < after:
            log.warning("hook %s: the ledger begins anew: all that it has is told", name)
            self._asked_after[name] = 0
        for outcome in answer["outcomes"]:
            if f"clip.{outcome['state']}" in hook.config.on:
                if hook.waiting >= MAX_WAITING:  # asked for again
                    break
                hook.put(_clip_event(outcome, answer["dir"]))
                self._clips_to_tell[name] += 1
            self._asked_after[name] = outcome["seq"]
        self._remember_outcome(name, self._told[name].outcome)

    def _remember_outcome(self, name: str, told: int | None) -> None:
        """`told`: the last that was; if no more are to be told, all that was asked for counts."""
        reached = told if self._clips_to_tell[name] else self._asked_after[name]
        if reached != self._told[name].outcome:
            self._told[name].outcome = reached
            self._save()

    def _ended(self, name: str, event: Event, result: Result) -> None:
        """In the hook's thread."""
        self._service.loop.call_soon(partial(self._remember, name, event, result))

    def _remember(self, name: str, event: Event, result: Result) -> None:
        if result == "done":
            self._service.counters[f"hooks.done.{name}"] += 1
        if event["event"] != "health":
            self._clips_to_tell[name] -= 1
            self._remember_outcome(name, event["seq"])
        elif result == "done":
            self._dampers[name].taken(event["daemon"], event["state"])
            self._save()
        else:
            self._dampers[name].refused(event["daemon"], mono_ns())

    def _save(self) -> None:
        try:
            save(self._path, self._told)
        except OSError as error:
            self._service.refusals.add("failed.told", f"{self._path}: {error}")

    def _status(self) -> dict[str, Any]:
        health = self._health or {}
        return {
            "state": worst(health),
            "health": {daemon: dataclasses.asdict(each) for daemon, each in health.items()},
            "hooks": {name: {"to": hook.to, "waiting": hook.waiting} for name, hook in self._hooks.items()},
        }


def _clip_event(outcome: Mapping[str, Any], folder: str) -> Event:
    return {
        "event": f"clip.{outcome['state']}",
        "id": f"clip-{outcome['clip_id']}",
        "seq": outcome["seq"],
        "clip": outcome["clip_id"],
        "stream": outcome["stream"],
        "label": outcome["label"],
        "path": f"{folder}/{outcome['path']}" if outcome["path"] else "",
        "reason": outcome["why"][:TEXT_MAX],
        "at": rfc3339(outcome["seq"]),
    }


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    return run_daemon(argv, lambda _: WATCH, WatchDaemon, named=False)
